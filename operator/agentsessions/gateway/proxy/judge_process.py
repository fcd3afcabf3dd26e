"""Evaluates expressions of policies, in a process of its own: `python -m agentsessions.gateway.proxy.judge_process`.

Takes one question a line from standard input, `{"values": {...}, "expressions": [...]}`, and answers a line for each
expression: true, false, or why it cannot be told. The library runs outside of the interpreter, so nothing in this
process can stop it: the kernel does, at the timer's end. Memory beyond the bound is refused.
"""

import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any, Final

from agentsessions.lifecycle.expressions import ExpressionError, compile_expression, evaluate

EXPRESSION_SECONDS: Final = 0.05
"""Of the processor, for one expression."""
QUESTION_SECONDS: Final = 0.25
"""Likewise, for all of one question."""
MEMORY_BYTES: Final = 64 * 1024 * 1024
"""On top of what the process needs to begin with."""
READY: Final = "ready"
OVERDUE: Final = frozenset({signal.SIGVTALRM, signal.SIGPROF})
"""How the kernel ends a process whose time is over."""


def main() -> None:
    """Answer until standard input ends."""
    evaluate("tool == ''", {"tool": "", "arguments": {}, "agent": "", "session": {}, "usage": {}})  # loads the library
    compile_expression.cache_clear()
    confine()
    say(READY)
    for line in sys.stdin:
        question = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, QUESTION_SECONDS)
        for expression in question["expressions"]:
            signal.setitimer(signal.ITIMER_VIRTUAL, EXPRESSION_SECONDS)
            answer = judge(expression, question["values"])
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            say(answer)
        signal.setitimer(signal.ITIMER_PROF, 0)


def confine() -> None:
    """Bound this process's memory, and leave no dump of what it held."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def judge(expression: str, values: dict[str, Any]) -> bool | str:
    """Return whether an expression holds, or why that cannot be told."""
    try:
        return evaluate(expression, values)
    except ExpressionError as error:
        return str(error) or "it fails"


def say(answer: bool | str) -> None:
    """Write a line."""
    sys.stdout.write(f"{json.dumps(answer)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
