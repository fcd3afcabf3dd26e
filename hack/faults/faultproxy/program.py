"""The program before the proxy, when the proxy starts it: it comes back after each kill, as in Kubernetes."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


class Program:
    """Runs a program until it ends by itself."""

    def __init__(self, words: Sequence[str], kubeconfig: Path) -> None:
        self._words = words
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self._process: asyncio.subprocess.Process | None = None
        self._is_killed = False

    async def run(self) -> int:
        """Start it, again after each kill; return its exit code when it ends for another reason."""
        while True:
            self._is_killed = False
            self._process = await asyncio.create_subprocess_exec(*self._words, env=self._environment)
            code = await self._process.wait()
            if not self._is_killed:
                return code

    async def kill(self) -> None:
        """Kill it; `run` starts it again."""
        if self._process is not None:
            self._is_killed = True
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def terminate(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()


async def kill_pid(pid: int) -> None:
    """Kill a process that somebody else started, and will start again."""
    os.kill(pid, signal.SIGKILL)
