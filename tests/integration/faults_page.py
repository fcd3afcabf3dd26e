"""The page with the figures of one full run."""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

HEAD: Final = """\
# Faults between operator and API server

<!-- figures of one run of tests/integration/test_controller_faults.py; written by
     `make test-faults FAULTS_PAGE=docs/faults.md` -->

A session is played on a real API server while a proxy (`hack/faults`) strikes one call of the operator that changes
something: one session for each such call. At the end its status must be that of the undisturbed run (times, uids and
epoch numbers apart), the agent must never have had two pods without deletionTimestamp (by the API server's history),
no other pod may be left, and the fault may cost three changes more at most. Of a deleted session
nothing may be left."""
LEGEND: Final = """\
- *killed before*: SIGKILL, and the API server never hears of the call. *killed after*: it acts, and the operator dies
  before it learns so. The operator is started again at once.
- *409*: AlreadyExists to a create (a lie: it costs a pod an epoch), Conflict to the rest. *409 Conflict*: Conflict to
  creates too, as quotas answer. *429*: with Retry-After 1. *504, done* and *cut, done*: the API server has acted.
- *delayed*: by 2 s. *killed after, old lists*: and what it lists at its next start is what it listed at its last.
- *watch lost, 410*: struck are not the changes, but the events of the operator's watches: the watch breaks before the
  event, and cannot go on from there.
- *overtaken by another operator*: held at the call until a second operator has brought the session to its end.

The changes of each story, in order. A fault strikes each of them; where a story begins as another does (*create* up to
Running, *resume* as *pause*), those of the beginning are struck in that one alone:"""


@dataclass(frozen=True)
class Cell:
    """One story under one fault."""

    tried: int
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.tried}, same end" if not self.problems else f"{self.tried}, **{len(self.problems)} problems**"


@dataclass
class Page:
    """Collects cells as tests bring them."""

    stories: tuple[str, ...]
    faults: tuple[str, ...]
    began: float
    """Monotonic seconds."""
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)

    def add(self, story: str, fault: str, *, tried: int, problems: Sequence[str]) -> None:
        """Note how many positions were tried, and what was wrong."""
        self.cells[story, fault] = Cell(tried, tuple(problems))

    @property
    def is_whole(self) -> bool:
        """Whether every story met every fault."""
        return all((story, fault) in self.cells for story in self.stories for fault in self.faults)

    def render(self, changes: Mapping[str, Sequence[str]], start_seconds: Sequence[float]) -> str:
        """Return the page."""
        faults = list(dict.fromkeys([*self.faults, *(fault for _, fault in self.cells)]))
        problems = [f"- {line}" for cell in self.cells.values() for line in cell.problems]
        figures = (
            f"{_machine()}: {sum(cell.tried for cell in self.cells.values())} disturbed sessions in "
            f"{time.monotonic() - self.began:.0f} s; the operator was started {len(start_seconds)} times, "
            f"{statistics.median(start_seconds):.1f} s each (median)."
        )
        table = [
            "| fault \\ story | " + " | ".join(self.stories) + " |",
            "|---|" + "---|" * len(self.stories),
            *(self._row(fault) for fault in faults),
        ]
        order = [f"- {story}: {', '.join(_fold(done))}" for story, done in changes.items()]
        parts = [HEAD, figures, "\n".join(table), *(["Problems:", *problems] if problems else []), LEGEND, *order]
        return "\n\n".join(parts) + "\n"

    def _row(self, fault: str) -> str:
        cells = (str(self.cells.get((story, fault), "not tried")) for story in self.stories)
        return f"| {fault} | {' | '.join(cells)} |"


def _fold(changes: Sequence[str]) -> list[str]:
    """Return the changes with neighbours that are alike counted."""
    groups = [(change, len(list(group))) for change, group in groupby(changes)]
    return [f"{change} ({count} times)" if count > 1 else change for change, count in groups]


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"
