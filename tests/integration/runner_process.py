"""Start the runner as its own process on folders of a test, and note every address that it dials.

Run as a program this is the process itself: an audit hook sees each connection and each name that is looked up, whoever
asks for it.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from agentsessions.runner.main import start
from agentsessions.runner.settings import Patience, Settings
from tests.unit.runner.peer import TOKEN

ROOT = Path(__file__).parents[2]
TRAPS = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "OPENAI_API_KEY": "sk-not-to-be-used",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "SSL_CERT_FILE": "/dev/null",
}
"""What would lead a careless client astray."""


class RunnerProcess:
    """Runners on one workspace, one process after the other."""

    def __init__(self, folder: Path, ca: Path | None = None, patience_seconds: float = 20, token: str = TOKEN) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        self.dialled = folder / "dialled"
        self.dialled.touch()
        self._token = folder / "token"
        self._token.write_text(token)
        self._ca = ca or folder / "no-ca"
        self._patience_seconds = patience_seconds

    async def start(self, url: str) -> asyncio.subprocess.Process:
        """Start a fresh runner."""
        return await asyncio.create_subprocess_exec(*self.command(url), cwd=ROOT, env=self.environment())

    def command(self, url: str) -> list[str]:
        """Return the program with its arguments; it runs in `ROOT`."""
        given = [url, self._token, self._ca, self.workspace, self.dialled, self._patience_seconds]
        return [sys.executable, "-m", "tests.integration.runner_process", json.dumps([str(one) for one in given])]

    @staticmethod
    def environment() -> dict[str, str]:
        """Return its environment."""
        return {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", **TRAPS}

    async def run(self, url: str) -> int:
        """Run a fresh runner to its end; return its exit code."""
        return await (await self.start(url)).wait()


def note_dials(path: str) -> None:
    """Write each network address that this process asks for into a file."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            os.write(file, f"connect {json.dumps(arguments[1])}\n".encode())
        elif event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}:
            name = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
            os.write(file, f"{event} {name}\n".encode())

    sys.addaudithook(hook)


def main() -> None:
    """Be the runner."""
    url, token, ca, workspace, dialled, patience_seconds = json.loads(sys.argv[1])
    note_dials(dialled)
    settings = Settings(
        gateway_url=url,
        token_path=Path(token),
        ca_path=Path(ca),
        context_dir=Path("/nonexistent"),
        workspace_dir=Path(workspace),
        patience=Patience(first_wait_seconds=0.05, longest_wait_seconds=0.2, total_seconds=float(patience_seconds)),
    )
    sys.exit(start(settings))


if __name__ == "__main__":
    main()
