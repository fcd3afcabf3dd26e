"""Data sources and policies that mean harm: each is taken, or refused with a word of a closed set, in bounds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentsessions.api.datasets import DataProblem
from agentsessions.cli.documents import DocumentProblem
from tests.process.hostile.play_hostile import TAKEN

pytestmark = [pytest.mark.requirement("OBJ-8"), pytest.mark.requirement("POL-1")]

IS_FULL = os.environ.get("AGENTSESSIONS_HOSTILE") == "full"
"""As `make test-hostile` has it, on a quiet machine: there, refusals are timed."""
FILES = 5000 if IS_FULL else 150
"""Of each kind."""
PART = 500
"""For one process."""
ROOT = Path(__file__).parents[3]
WORDS = {
    "data": {TAKEN, *DataProblem},
    "policy": {TAKEN, "NotAPolicy", "BadExpression", *DocumentProblem},
}


def play(kind: str, first: int, behind: int) -> None:
    """Have a process of its own read files; what it may not have ends it."""
    words = [sys.executable, "-m", "tests.process.hostile.play_hostile", kind, str(first), str(behind)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "operator"), str(ROOT)))}
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout[done.stdout.rindex('{"outcomes"') :])
    assert found["outcomes"].keys() <= WORDS[kind]
    assert len(found["outcomes"]) > len(WORDS[kind]) // 2, "the files differ"
    assert not IS_FULL or found["slow"] == [], "each refusal comes within 50 ms of the processor"
    sys.stdout.write(f"{kind}: {found['outcomes']}, the slowest in {found['slowest'] * 1000:.0f} ms\n")


@pytest.mark.parametrize("first", range(0, FILES, PART))
@pytest.mark.parametrize("kind", WORDS)
def test_hostile_files_are_refused_soon_and_in_bounds(kind: str, first: int) -> None:
    play(kind, first, min(first + PART, FILES))
