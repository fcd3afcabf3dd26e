"""Expressions that mean harm: ended by the kernel, each with a reason, and the next call is judged as ever."""

import os
import resource
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentsessions.gateway.proxy.judge import SKIPPED, TOO_LONG, TOO_MUCH, Judge
from agentsessions.lifecycle.expressions import ExpressionError

pytestmark = pytest.mark.requirement("POL-1")

VALUES: dict[str, Any] = {
    "tool": "shell", "arguments": {"text": "a" * 60_000, "list": list(range(990))}, "agent": "a", "session": {},
    "usage": {}, "host": "", "dataSources": [],
}  # fmt: skip
SLOW = "(arguments.text + arguments.text).matches('((a{0,100}){0,10}){0,1}b')"
MANY = "+".join(["s"] * 20)
LARGE = f"[{'+'.join(['arguments.text'] * 8)}].map(s, {MANY}).map(s, {MANY}).size() > 0"
"""Two hundred million characters, of sixty thousand."""
PLAIN = "tool == 'shell'"


@pytest.fixture
async def judge() -> AsyncIterator[Judge]:
    judge = Judge()
    yield judge
    await judge.close()


def cpu_seconds(who: int) -> float:
    """Return the processor's time of this process, or of all that it started and that ended."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


async def said(judge: Judge, *expressions: str) -> list[bool | str]:
    answers, found = await judge.ask(expressions, VALUES), list[bool | str]()
    for expression in expressions:
        try:
            found.append(answers.evaluate(expression))
        except ExpressionError as error:
            found.append(str(error))
    return found


async def test_expressions_are_answered_in_order(judge: Judge) -> None:
    answers = await said(judge, PLAIN, "tool == 'files'", "arguments.nothing == 1")
    assert answers[:2] == [True, False]
    assert "nothing" in str(answers[2])
    assert await said(judge) == []


@pytest.mark.parametrize("expression", [pytest.param(SLOW, id="slow"), pytest.param(LARGE, id="large")])
async def test_an_expression_that_takes_too_much_ends_alone(judge: Judge, expression: str) -> None:
    here, there = (cpu_seconds(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    first, ended, last = await said(judge, PLAIN, expression, "tool == 'files'")
    assert (first, last) == (True, SKIPPED)
    assert ended in {TOO_LONG, TOO_MUCH}
    assert cpu_seconds(resource.RUSAGE_SELF) - here < cpu_seconds(resource.RUSAGE_CHILDREN) - there, "it was done here"
    assert await said(judge, PLAIN) == [True]


async def test_many_expressions_share_a_time(judge: Judge) -> None:
    costly = [f"arguments.text.matches('(a?b?){{{size}}}c')" for size in range(20, 40)]
    answers = await said(judge, *costly, *(f"{one} || true" for one in costly))
    assert all(answer in {False, TOO_LONG, SKIPPED} for answer in answers[:20])


async def test_a_judge_that_is_killed_is_replaced(judge: Judge) -> None:
    assert await said(judge, PLAIN) == [True]
    assert judge._process is not None  # noqa: SLF001  # what the kernel would choose
    os.kill(judge._process.pid, signal.SIGKILL)  # noqa: SLF001
    await judge._process.wait()  # noqa: SLF001
    assert await said(judge, PLAIN) == [True]
