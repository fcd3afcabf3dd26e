"""What the journal's writer counts, and where traces of its commits go."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram


class JobResult(StrEnum):
    """How a job of the writer ended."""

    COMMITTED = "committed"
    REFUSED = "refused"
    """It raised, and left no trace; the others of its transaction were committed."""
    LOST = "lost"
    """Its transaction failed: a full disk, a lost connection."""


COMMITS: Final = Counter("agentsession_journal_commits_total", "Transactions of the journal's writer.")
COMMIT_SECONDS: Final = Histogram(
    "agentsession_journal_commit_seconds",
    "Time of one transaction, all of its jobs included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
JOBS: Final = Counter("agentsession_journal_jobs_total", "Jobs of the journal's writer.", ["result"])
QUEUED_JOBS: Final = Gauge("agentsession_journal_queued_jobs", "Jobs that wait for the journal's writer.")

for _result in JobResult:
    JOBS.labels(_result)  # there from the start: a rate needs a first value


class Spans:
    """Where a write is traced: nowhere, unless a process that traces says so."""

    def __init__(self) -> None:
        self.write: Callable[[], AbstractContextManager[Any]] = nullcontext
        """Entered for the time that a caller waits for its write."""


SPANS: Final = Spans()
