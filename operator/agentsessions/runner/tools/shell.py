"""The tool `shell`: one command line, in the workspace, in a process group of its own that ends with it."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from agentsessions.api.shortened import HeadTail
from agentsessions.api.wire import SideEffect
from agentsessions.runner.tools.tool import ToolFailedError

DEFAULT_TIMEOUT_SECONDS: Final = 60
MAX_TIMEOUT_SECONDS: Final = 600
MAX_OUTPUT_BYTES: Final = 65_000
"""Below the size of a tool result: the line with the exit code fits too."""
READ_BYTES: Final = 65_536
LINGER_SECONDS: Final = 1.0
"""How long output is waited for after the command's group is gone: a program that left the group may hold the pipe."""


class Shell:
    """Runs commands as the runner's user, with the workspace as folder and without the runner's own variables."""

    name: Final = "shell"
    description: Final = (
        "Run a shell command in the workspace. Returns its output (stdout and stderr as they come) and its exit code. "
        "Each call is a new shell; what it leaves running in the background is ended when it returns."
    )
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "command": {"type": "string", "minLength": 1, "description": "Command line for the shell."},
            "timeout": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_TIMEOUT_SECONDS,
                "description": f"Seconds after which the command is killed; {DEFAULT_TIMEOUT_SECONDS} by default.",
            },
        },
        "required": ["command"],
        "additionalProperties": False,
    }
    side_effect: Final = SideEffect.INTERNAL

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = dict(env)
        self._shell = shutil.which("bash") or "/bin/sh"

    async def run(self, arguments: Mapping[str, Any]) -> str:
        """Run a command to its end or its time-out; when cancelled, nothing of it stays behind."""
        timeout_seconds = arguments.get("timeout", DEFAULT_TIMEOUT_SECONDS)
        with Capture() as capture:
            process = self._start(arguments["command"], capture)
            ended = asyncio.ensure_future(asyncio.to_thread(process.wait))
            try:
                await asyncio.wait({ended}, timeout=timeout_seconds)
                is_late = not ended.done()
            finally:
                end_group(process)
                code = await ended
                reap_orphans()
            await capture.finish()
            output = capture.text()
        if is_late:
            allowed = f"'timeout' may be up to {MAX_TIMEOUT_SECONDS}"
            raise ToolFailedError(f"{output}\n[killed after {timeout_seconds} s; {allowed}]")
        return f"{output}\n[{to_ending(code)}]"

    def _start(self, command: str, capture: "Capture") -> subprocess.Popen[bytes]:
        """Start a command. The event loop's way can be cancelled while the command runs but is not known yet."""
        try:
            return subprocess.Popen(  # noqa: S603 - running what the model writes is the purpose
                [self._shell, "-c", command],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=capture.write_end,
                stderr=capture.write_end,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise ToolFailedError(f"the command could not be started: {error}") from error
        finally:
            capture.close_write_end()


class Capture:
    """A pipe that is read all the time, so that a command never waits for us; only so much is kept.

    Its end is not the command's end: a program that the command left behind can hold the pipe open for ever.
    """

    def __init__(self) -> None:
        self._read_end, self.write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        self._kept = HeadTail(MAX_OUTPUT_BYTES)
        self._ended = asyncio.Event()

    def __enter__(self) -> Self:
        asyncio.get_running_loop().add_reader(self._read_end, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._read_end)
        os.close(self._read_end)
        self.close_write_end()

    def close_write_end(self) -> None:
        """Close our copy of the writing end: the command has its own."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1

    async def finish(self) -> None:
        """Wait for the rest of the output."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                await self._ended.wait()

    def text(self) -> str:
        """Return the output, shortened in the middle when there was too much."""
        return self._kept.text()

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._read_end, READ_BYTES)
            if data:
                self._kept.feed(data)
            else:
                asyncio.get_running_loop().remove_reader(self._read_end)
                self._ended.set()


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all that is left of a command."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def reap_orphans() -> None:
    """Collect dead processes that nobody waits for: as process 1 of the pod we inherit them.

    Calls run one after the other, so no child that somebody waits for is alive here.
    """
    if os.getpid() != 1:
        return
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def to_ending(code: int) -> str:
    """Return how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
