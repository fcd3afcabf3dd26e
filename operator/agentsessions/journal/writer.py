"""The one writer: jobs queue up and share a transaction, each in a savepoint of its own (group commit).

What it promises:
- a job's caller hears of success only after the commit that holds its writes;
- a refused job leaves no trace, and does not disturb the others;
- a job runs to its end even when its caller has gone;
- subscribers hear of a session after the commit, never before;
- while the database is away jobs wait a while, then fail as `StoreUnavailable`. One whose commit was cut off fails so
  at once: whether it was kept is not known, so its caller must ask again for the same, never for another.

Transactions run in a thread of the writer's own, so the event loop never waits for the disk.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from agentsessions.journal import driver, measures, postgresql
from agentsessions.journal.measures import JobResult
from agentsessions.journal.refusals import StoreClosed, StoreUnavailable

MAX_BATCH: Final = 128
"""Jobs in one transaction; bounds how long the first of them waits for the last."""
PATIENCE_SECONDS: Final = 10.0
"""How long a transaction tries to begin while the database is away: a restart of it takes less."""
PAUSE_SECONDS: Final = 0.2

T = TypeVar("T")


@dataclass(slots=True)
class Work:
    """What a job may use."""

    conn: Connection
    now: datetime
    touched: set[str] = field(default_factory=set)
    """Sessions whose subscribers must hear of the commit."""


@dataclass(slots=True)
class _Job(Generic[T]):
    play: Callable[[Work], T]
    done: asyncio.Future[T]


@dataclass(frozen=True, slots=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


class Publisher(Protocol):
    """Tells other processes what was committed."""

    def publish(self, connection: Connection, touched: set[str]) -> int:
        """Write, in the transaction, that these sessions were touched; return the commit's number. In any thread."""

    def note_own(self, touched: set[str], number: int) -> None:
        """Note that this process announces that commit itself."""


class Writer:
    """Runs jobs one after the other, and commits them in groups."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime],
        announce: Callable[[set[str]], None],
        publisher: Publisher | None = None,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._announce = announce
        self._publisher = publisher
        self._max_batch = MAX_BATCH if publisher is None else postgresql.MAX_BATCH
        self._jobs: asyncio.Queue[_Job[Any] | None] = asyncio.Queue()
        self._is_closed = False
        measures.QUEUED_JOBS.set_function(self._jobs.qsize)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-writer")
        self._task = asyncio.create_task(self._serve(), name="journal-writer")

    async def run(self, play: Callable[[Work], T]) -> T:
        """Run a job in the next transaction; return its value once that is committed.

        Raises:
            StoreClosed: The writer takes no more jobs.
            StoreUnavailable: The database is away; what was asked for may have been kept all the same.
            Refusal: The job refused.
        """
        if self._is_closed:
            raise StoreClosed("the journal is closing and takes no more writes")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        with measures.SPANS.write():
            self._jobs.put_nowait(_Job(play, done))
            return await done

    async def close(self) -> None:
        """Finish the jobs that were taken, then stop."""
        if not self._is_closed:
            self._is_closed = True
            self._jobs.put_nowait(None)
        await self._task
        self._thread.shutdown()

    async def _serve(self) -> None:
        is_open = True
        while is_open:
            batch = []
            job = await self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == self._max_batch or self._jobs.empty():
                    break
                job = self._jobs.get_nowait()
            is_open = job is not None
            if batch:
                await self._commit(batch)

    async def _commit(self, batch: list[_Job[Any]]) -> None:
        loop = asyncio.get_running_loop()
        began = time.perf_counter()
        arguments = (self._engine, batch, self._clock(), self._publisher)
        try:
            done = await loop.run_in_executor(self._thread, _transact, *arguments)
        except Exception as error:  # noqa: BLE001 - every caller must hear why, the writer lives on
            why = _to_refusal(error)
            if why is not error:  # the server may be another one now
                await loop.run_in_executor(self._thread, self._engine.dispose)
            done = _Done([_Outcome(error=why) for _ in batch], set())
            measures.JOBS.labels(JobResult.LOST).inc(len(batch))
        else:
            _count(done.outcomes, time.perf_counter() - began)
        for job, outcome in zip(batch, done.outcomes, strict=True):
            _settle(job.done, outcome)
        if done.touched:
            if self._publisher is not None and done.number is not None:
                self._publisher.note_own(done.touched, done.number)
            self._announce(done.touched)


def _count(outcomes: list[_Outcome], seconds: float) -> None:
    refused = sum(outcome.error is not None for outcome in outcomes)
    measures.COMMITS.inc()
    measures.COMMIT_SECONDS.observe(seconds)
    measures.JOBS.labels(JobResult.REFUSED).inc(refused)
    measures.JOBS.labels(JobResult.COMMITTED).inc(len(outcomes) - refused)


@dataclass(frozen=True, slots=True)
class _Done:
    """A transaction that was committed, or was not."""

    outcomes: list[_Outcome]
    touched: set[str]
    number: int | None = None


def _transact(engine: Engine, batch: list[_Job[Any]], now: datetime, publisher: Publisher | None) -> _Done:
    with _connect(engine) as connection:
        outcomes, touched = _play_all(connection, batch, now)
        number = publisher.publish(connection, touched) if publisher is not None and touched else None
        connection.commit()
    return _Done(outcomes, touched, number)


def _connect(engine: Engine) -> Connection:
    """Return a connection in a transaction; while there is none to be had, for a while, try again."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        connection = None
        try:
            connection = engine.connect()
            connection.begin()
        except Exception as error:
            if connection is not None:
                connection.close()
            if not postgresql.is_passing(error) or time.monotonic() >= give_up_at:
                raise
            time.sleep(PAUSE_SECONDS)
        else:
            return connection


def _to_refusal(error: Exception) -> Exception:
    """Return `StoreUnavailable` for an error that passes, any other one as it is."""
    if not postgresql.is_passing(error):
        return error
    refusal = StoreUnavailable(
        "the journal's database was away or too busy, and may have kept what was asked for: ask for the same again"
    )
    refusal.__cause__ = error
    return refusal


def _play_all(connection: Connection, batch: list[_Job[Any]], now: datetime) -> tuple[list[_Outcome], set[str]]:
    outcomes: list[_Outcome] = []
    touched: set[str] = set()
    for job in batch:
        work = Work(connection, now)
        try:
            with _savepoint(connection):
                value = job.play(work)
        except (IntegrityError, DataError) as error:
            outcomes.append(_Outcome(error=error))
        except DBAPIError:
            raise  # a full disk, a lost connection: the transaction itself may be gone
        except Exception as error:  # noqa: BLE001 - belongs to the job's caller
            outcomes.append(_Outcome(error=error))
        else:
            outcomes.append(_Outcome(value))
            touched |= work.touched
    return outcomes, touched


@contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """Undo what a job wrote when it raises; `begin_nested` costs as much as some of the jobs."""
    driver.execute(connection, "SAVEPOINT job")
    try:
        yield
    except BaseException:
        if not connection.invalidated:  # else all is undone already
            driver.execute(connection, "ROLLBACK TO SAVEPOINT job")
            driver.execute(connection, "RELEASE SAVEPOINT job")
        raise
    driver.execute(connection, "RELEASE SAVEPOINT job")


def _settle(done: asyncio.Future[Any], outcome: _Outcome) -> None:
    if done.done():
        return  # the caller has gone
    if outcome.error is None:
        done.set_result(outcome.value)
    else:
        done.set_exception(outcome.error)
