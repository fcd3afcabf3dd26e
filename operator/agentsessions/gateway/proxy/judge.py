"""Asks another process what expressions of policies say: what goes on for too long ends there, and nowhere else.

Whoever may write a policy of one namespace could otherwise stop the gateway for all of them: a pattern of fifty
characters keeps the library busy for seconds, and a list of a thousand texts fills the memory.
"""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from agentsessions.gateway.problems import unavailable
from agentsessions.gateway.proxy import judge_process
from agentsessions.gateway.proxy.judge_process import EXPRESSION_SECONDS, MEMORY_BYTES, OVERDUE, QUESTION_SECONDS
from agentsessions.lifecycle.expressions import ExpressionError

log = structlog.get_logger(__name__)

PATIENCE_SECONDS: Final = 30.0
"""For an answer, on a machine that is busy with other things."""
MAX_LINE_BYTES: Final = 65_536
TOO_LONG: Final = (
    f"it takes more than {EXPRESSION_SECONDS * 1000:.0f} ms, or all expressions together more than "
    f"{QUESTION_SECONDS * 1000:.0f} ms"
)
TOO_MUCH: Final = f"it takes more than {MEMORY_BYTES // 1024**2} MiB of memory, or fails otherwise"
SKIPPED: Final = "another expression took too much, so that this one was not looked at"


class Answers:
    """What expressions came to on one call."""

    def __init__(self, said: Mapping[str, bool | str]) -> None:
        self._said = said

    def evaluate(self, expression: str) -> bool:
        """Return whether an expression holds on the values that were asked about.

        Raises:
            ExpressionError: That cannot be told.
        """
        answer = self._said[expression]
        if isinstance(answer, str):
            raise ExpressionError(answer)
        return answer


class Judge:
    """The other process: started when it is first needed, and anew when it is gone."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def ask(self, expressions: Sequence[str], values: Mapping[str, Any]) -> Answers:
        """Return what expressions say.

        Raises:
            ProblemError: 503 when no process answers.
        """
        if not expressions:
            return Answers({})
        async with self._turn:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    said = await self._ask(expressions, values)
            except (TimeoutError, OSError) as error:
                log.warning("policies not judged", error=str(error) or type(error).__name__)
                await self._end()
                raise unavailable("The policies cannot be evaluated now; without them no call is begun.") from error
            except asyncio.CancelledError:
                await self._end()  # its answers would be taken for those of the next question
                raise
        return Answers(said)

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    async def _ask(self, expressions: Sequence[str], values: Mapping[str, Any]) -> dict[str, bool | str]:
        process = await self._start()
        question = json.dumps({"values": dict(values), "expressions": list(expressions)})
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("the process was started with pipes")
        stdin.write(f"{question}\n".encode())
        said: dict[str, bool | str] = {}
        for expression in expressions:
            line = await stdout.readline()
            if not line.endswith(b"\n"):
                return said | await self._explain(process, expressions[len(said) :])
            said[expression] = json.loads(line)
        return said

    async def _explain(self, process: Process, left: Sequence[str]) -> dict[str, bool | str]:
        """Say of what had no answer why: of the first, that it ended the process."""
        ended = signal.Signals(-code) if (code := await process.wait()) < 0 else None
        self._process = None
        if ended is signal.SIGKILL:
            raise OSError("the process was killed from outside")
        log.warning("expression of a policy took too much", ended_by=ended and ended.name, code=code)
        first, *others = left
        return {first: TOO_LONG if ended in OVERDUE else TOO_MUCH, **dict.fromkeys(others, SKIPPED)}

    async def _start(self) -> Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            judge_process.__name__,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            limit=MAX_LINE_BYTES,
            env={"PYTHONPATH": os.pathsep.join(sys.path)},  # and none of the gateway's secrets
            start_new_session=True,  # a signal that a terminal sends to us all is not for it
        )
        self._process = process
        if process.stdout is None or json.loads(await process.stdout.readline() or "null") != judge_process.READY:
            raise OSError("the process that evaluates policies does not start")
        return process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
