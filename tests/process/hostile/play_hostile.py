"""Reads hostile files in a process that may not have more than 64 MiB for them; run by test_hostile_files.

`python -m tests.process.hostile.play_hostile data|policy FIRST BEHIND` prints what came out, and what took longest.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agentsessions.api.datasets import BadDataError, read_table
from agentsessions.cli.documents import BadDocumentError, read_documents
from agentsessions.gateway.proxy.policies import to_policy
from agentsessions.lifecycle.policies import find_problems
from tests.process.hostile.hostile_files import hostile_data, hostile_policy

MOST_SECONDS: Final = 0.05
MOST_BYTES: Final = 64 * 1024 * 1024
SECONDS_EACH: Final = 1
"""Of the processor, for each file of a part, on any machine: the kernel ends what goes on and on."""
TRIES: Final = 5
"""Other processes share the processor and its caches: what is slow each time is slow."""
TAKEN: Final = "taken"


def play_data(number: int) -> Callable[[], str]:
    """Return what reads a data source, and says what came out."""
    content, form = hostile_data(number)

    def read() -> str:
        try:
            table = read_table(content, form)
        except BadDataError as error:
            return problem_of(error)
        assert all(len(row) == len(table.columns) for row in table.rows)
        return TAKEN

    return read


def play_policy(number: int) -> Callable[[], str]:
    """Return what reads a policy as far as its expressions, and says what came out."""
    content = hostile_policy(number)

    def read() -> str:
        try:
            found = read_documents(content)
        except BadDocumentError as error:
            return problem_of(error)
        outcome = TAKEN
        for one in found:
            spec = one.get("spec") if isinstance(one, dict) else one
            policy = to_policy({"metadata": {"namespace": "n", "name": "p"}, "spec": spec})
            if policy.spec is None:
                assert policy.problem
                outcome = "NotAPolicy"
            elif problems := find_problems(policy.spec):
                assert all(len(problem) < 500 for problem in problems)
                outcome = "BadExpression"
        return outcome

    return read


def problem_of(error: BadDataError | BadDocumentError) -> str:
    """Return the word for what is wrong; there are others, for people."""
    assert 0 < len(str(error)) < 400
    return error.problem


PLAYS: Final = {"data": play_data, "policy": play_policy}


def measure(read: Callable[[], str]) -> tuple[str, float]:
    """Return what came out, and the seconds of the processor that it took."""
    least = float("inf")
    for _ in range(TRIES):
        began = time.process_time()
        outcome = read()
        least = min(least, time.process_time() - began)
        if outcome == TAKEN or least < MOST_SECONDS:
            break
    return outcome, least


def main(kind: str, first: int, behind: int) -> None:
    """Read files and print what came out of them."""
    measure(PLAYS[kind](first))  # loads what is loaded once
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MOST_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    all_seconds = int(time.process_time()) + SECONDS_EACH * (behind - first)
    resource.setrlimit(resource.RLIMIT_CPU, (all_seconds, all_seconds))
    outcomes, slow, slowest = Counter[str](), list[tuple[int, float]](), 0.0
    for number in range(first, behind):
        outcome, seconds = measure(PLAYS[kind](number))
        outcomes[outcome] += 1
        if outcome != TAKEN:
            slowest = max(slowest, seconds)
            if seconds >= MOST_SECONDS:
                slow.append((number, seconds))
    sys.stdout.write(json.dumps({"outcomes": outcomes, "slow": slow, "slowest": slowest}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
