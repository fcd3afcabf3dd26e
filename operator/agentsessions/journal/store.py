"""The journal's store: what the gateway, its only user, may ask of it.

Reads run beside the writer and see what is committed. Writes of a pod are compared with the fence in the transaction
that commits them. Every refusal is a `refusals.Refusal`.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Engine, make_url, select

from agentsessions.api.levels import Level
from agentsessions.api.spending import DayUsage
from agentsessions.api.wire import Commit, Outcome, ToolBegin, ToolSettle, ToolVerdict
from agentsessions.journal import (
    calls,
    depth,
    failures,
    fences,
    history,
    inbox,
    instances,
    levels,
    mailbox,
    postgresql,
    sessions,
    sources,
    spending,
    tools,
    turns,
)
from agentsessions.journal.changes import Bulletin, Changes
from agentsessions.journal.database import create_reader_engine, create_writer_engine, is_shared, migrate
from agentsessions.journal.entries import ChainCheck, EntryRow
from agentsessions.journal.fanout import FanOut
from agentsessions.journal.ledger import to_entry
from agentsessions.journal.reader import Reader
from agentsessions.journal.refusals import AgentDone, AgentIdle, CallInFlight, NothingYet, StoreUnavailable
from agentsessions.journal.rows import (
    CallFailure,
    CallRequest,
    CommitResult,
    Course,
    MessageRow,
    NewMessage,
    PartialAnswer,
    PinnedTurn,
    PodIdentity,
    Reservation,
    SessionRow,
    TokenUsage,
)
from agentsessions.journal.tables import entries, tool_calls, usage
from agentsessions.journal.writer import Work, Writer
from agentsessions.lifecycle.policies import FREE, Ruling

T = TypeVar("T")
_VERIFY_PAGE = 100
"""Entries, of 64 KiB and more; they are hashed on the event loop, page by page."""

ENDS: Final = Course()
"""The first answer is the last one, unless there are messages."""


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


class Store:
    """The journal, open."""

    def __init__(self, url: str, writer_engine: Engine, clock: Callable[[], datetime], instance: str) -> None:
        self.instance = instance
        """Name of this process among those that have the journal open."""
        self._writer_engine = writer_engine
        self._reader = Reader(create_reader_engine(url))
        self._clock = clock
        self._bulletin = Bulletin()
        self._fan_out: FanOut | None = None
        if is_shared(url):
            self._fan_out = FanOut(make_url(url), self.read, self._bulletin.announce)
        self._writer = Writer(writer_engine, clock=clock, announce=self._bulletin.announce, publisher=self._fan_out)

    @classmethod
    async def open(cls, url: str, *, clock: Callable[[], datetime] = utc_now, instance: str = "") -> Self:
        """Bring the schema up to date, then open the journal.

        Args:
            url: `sqlite+aiosqlite:////path` or `postgresql://user:password@host:5432/database`.
            clock: Tells the time.
            instance: Name of this process, unlike that of any other that lives; one is made up by default.

        Raises:
            StoreUnavailable: The database cannot be reached.
            ForeignJournal: The journal is of another build, which this one cannot write.
            ValueError: The URL is of another database.
        """
        writer_engine = create_writer_engine(url)
        try:
            await asyncio.to_thread(migrate, writer_engine)
        except BaseException as error:
            writer_engine.dispose()
            if postgresql.is_passing(error):
                raise StoreUnavailable("the journal's database cannot be reached") from error
            raise
        store = cls(url, writer_engine, clock, instance or uuid.uuid4().hex)
        if store._fan_out is not None:
            await store._fan_out.start(postgresql.connect_listener)
        return store

    async def close(self) -> None:
        """Commit what was asked for, end subscriptions, close the database."""
        await self._writer.close()
        if self._fan_out is not None:
            await self._fan_out.close()
        self._bulletin.close()
        await self._reader.close()
        await asyncio.to_thread(self._writer_engine.dispose)

    @property
    def is_shared(self) -> bool:
        """Whether other processes may have the journal open too."""
        return self._fan_out is not None

    async def read(self, query: Callable[..., T], *args: Any) -> T:
        """Return what a query (`query(connection, *args)`) finds; all of it sees one state of the journal.

        Raises:
            StoreUnavailable: The database is away.
        """
        return await self._reader.run(query, *args)

    async def write(self, job: Callable[[Work], T]) -> T:
        """Return what a job returns, once what it wrote is committed; a job that raises leaves no trace."""
        return await self._writer.run(job)

    # Sessions, from the watch of the resources.

    async def put_session(self, session: SessionRow) -> None:
        """Store a session as the cluster shows it; cheap when nothing changed.

        Journals session_start when its status first has a phase, a `state` entry for each phase, `done` once at a final
        one, and the goal message when the spec has no context (else `set_goal_message` must).
        """
        await self.write(lambda work: _put_session(work, session))

    async def set_goal_message(self, uid: str, text: str) -> None:
        """Journal the goal with its context as the first message; later calls change nothing.

        A fork, which begins with messages of its source, is told a goal that differs from theirs next.
        """
        await self.write(lambda work: sources.set_goal(work, uid, text))

    async def mark_deleted(self, uid: str, at: datetime) -> None:
        """Note that the resource is gone; its rows stay."""
        await self.write(lambda work: _mark_deleted(work, uid, at))

    async def get_session(self, id_: str, namespace: str) -> SessionRow | None:
        """Return a namespace's session by uid, or the newest one of that name; deleted ones too."""
        return await self.read(sessions.find, id_, namespace)

    async def get_session_by_uid(self, uid: str) -> SessionRow | None:
        """Return the session with this uid, whatever its namespace."""
        return await self.read(sessions.find_by_uid, uid)

    # The fence.

    async def fence(self, session_uid: str, agent: str, epoch: int, pod_uid: str) -> bool:
        """Note which pod speaks for an epoch, as status says; return False if another pod has it already.

        Raises:
            UnknownSession: `put_session` comes first.
        """
        return await self.write(lambda work: fences.raise_fence(work, session_uid, agent, epoch, pod_uid))

    async def identify_pod(self, pod_uid: str) -> PodIdentity | None:
        """Return whom a pod speaks for; None while no status has named it."""
        return await self.read(fences.find_pod, pod_uid)

    # Turns.

    async def pin_turn(self, pod: PodIdentity, course: Course = ENDS, *, may_begin: bool = True) -> PinnedTurn:
        """Return the turn to play: the open one, else the next with all queued messages, stored before it is returned.

        Args:
            pod: Who asks.
            course: How the session goes on after an answer.
            may_begin: Whether a new turn may be begun; without, its time is not counted as idle either.

        Raises:
            StaleEpoch, GoalMissing.
            AgentDone: There is no next turn. Recorded: the epoch is closed.
            AgentIdle: There is none for now. Recorded: the epoch is closed.
            NothingYet: There may be one soon, or it may not be begun.
            NothingToPlay: This pod closed its epoch.
        """
        found = await self.write(lambda work: turns.pin(work, pod, course, may_begin=may_begin))
        if isinstance(found, turns.Waiting):
            raise NothingYet(found.round, found.k, found.seconds)
        if found is Outcome.FINAL or found is Outcome.HANDOFF:
            raise AgentDone(f"agent {pod.agent} of {pod.namespace}/{pod.name} gave its final answer")
        if found is Outcome.IDLE:
            raise AgentIdle(f"agent {pod.agent} of {pod.namespace}/{pod.name} has nothing to do for now")
        return found

    async def commit_turn(self, pod: PodIdentity, commit: Commit, course: Course = ENDS) -> CommitResult:
        """Close a turn in one transaction; the same commit again is answered alike.

        Raises:
            StaleEpoch, TurnMismatch.
        """
        return await self.write(lambda work: turns.commit(work, pod, commit, course))

    # Messages.

    async def put_message(self, session_uid: str, message: NewMessage) -> MessageRow:
        """Store a message for the session; the same key and content again returns the first one.

        Raises:
            UnknownSession, KeyReused, SessionFinished.
        """
        return await self.write(lambda work: inbox.put(work, session_uid, message))

    # Model calls.

    async def reserve_call(self, pod: PodIdentity, request: CallRequest) -> Reservation:
        """Return the recorded answer, or room for buying one, or the limit that forbids it (not raised).

        Raises:
            StaleEpoch, NothingToPlay.
            PriceMissing: The session has a cost limit, and the model no price.
            CallInFlight: The same request is being bought; join that purchase and relay its answer.
        """
        owned = replace(request, owner=self.instance)
        outcome = await self.write(lambda work: calls.reserve(work, pod, owned))
        if isinstance(outcome, calls.InFlight):
            raise CallInFlight(outcome.call_id, is_own=outcome.owner == self.instance)
        return outcome

    async def settle_call(
        self, pod: PodIdentity, call_id: int, answer: dict[str, Any], usage: TokenUsage | None, *, estimated: bool
    ) -> dict[str, Any]:
        """Journal a complete `chat.completion`; return it as it is to be relayed, with call ids of ours.

        The pod need not be current any more: what was paid for is kept, and served to the epoch that asks again.
        Without `usage` the tokens are estimated from the bytes of request and answer.

        Raises:
            LimitReached: Journaled and charged, but not to be relayed: it asks for more tool calls than are left,
                or a limit cut it short (finish_reason length, with a cap from maxTokens or maxCostMicroUSD).
            UnknownCall: There is no such purchase under way.
            ValueError: It is not an answer.
        """
        settled = await self.write(lambda work: calls.settle(work, pod, call_id, answer, usage, estimated=estimated))
        if settled.refusal is not None:
            raise settled.refusal
        return settled.answer

    async def fail_call(
        self,
        call_id: int,
        code: str,
        message: str,
        *,
        charged: bool,
        usage: TokenUsage | None = None,
        retry_at: datetime | None = None,
    ) -> None:
        """Record that a purchase failed; release its reservation, or charge it.

        Charged is `usage`, else the whole reservation, marked as estimated. A call that is over stays as it is.
        `retry_at` is the time before which the provider does not want to be asked again.
        """
        failure = CallFailure(code=code, message=message, charged=charged, usage=usage, retry_at=retry_at)
        await self.write(lambda work: failures.fail(work, call_id, failure))

    async def break_off_call(self, call_id: int, code: str, message: str, received: Sequence[PartialAnswer]) -> None:
        """Record that a purchase was broken off, and charge what was used of it, marked as estimated.

        Args:
            call_id: The purchase; one that is over stays as it is.
            code: Why, in a word.
            message: Why, in a sentence.
            received: Of each request that reached the provider; without any, nothing is charged.
        """
        await self.write(lambda work: failures.break_off(work, call_id, code, message, received))

    async def original_call_ids(self, session_uid: str) -> dict[str, str]:
        """Return the provider's id of each call id of ours."""
        return await self.read(_read_original_ids, session_uid)

    async def recover(self) -> int:
        """Charge in full what was under way when the process died; return how many calls. Once, before serving.

        In a shared journal these are the calls of an earlier process of this instance's name.
        """
        if not self.is_shared:
            return await self.write(failures.recover)
        return await self.write(lambda work: instances.enter(work, self.instance))

    # Tools.

    async def begin_tool(self, pod: PodIdentity, begin: ToolBegin, ruling: Ruling = FREE) -> ToolVerdict:
        """Say whether a tool call of the open turn is to be run; `ruling` is what the policies say to it.

        Raises:
            StaleEpoch, NothingToPlay, UnknownCall.
        """
        return await self.write(lambda work: depth.begin(work, pod, begin, ruling))

    async def settle_tool(self, pod: PodIdentity, settle: ToolSettle, *, is_own: bool = False) -> None:
        """Record a tool's result; the first report stands. `is_own`: the gateway itself ran it.

        Raises:
            StaleEpoch, NothingToPlay, UnknownCall.
        """
        await self.write(lambda work: tools.settle(work, pod, settle, is_own=is_own))

    # Reading.

    async def entries(self, session_uid: str, after: int = 0, limit: int = 1000) -> list[EntryRow]:
        """Return entries in order of seq, from the one behind `after`."""
        return await self.read(_read_entries, session_uid, after, limit)

    async def history(self, turn: PinnedTurn, max_messages: int | None = None) -> list[dict[str, Any]]:
        """Return the input items of a pinned turn; at most so many messages."""
        return await self.read(history.read_history, turn, max_messages)

    async def level(self, session_uid: str) -> Level | None:
        """Return how a session stands."""
        return await self.read(levels.read_level, session_uid)

    async def level_if_there(self, session_uid: str) -> Level | None:
        """Return how a session stands, unless its resource is gone."""
        return await self.read(levels.read_level_if_there, session_uid)

    async def open_levels(self) -> list[Level]:
        """Return how all sessions stand that exist and are in no final phase."""
        return await self.read(levels.read_open_levels)

    async def spent_today(self, namespaces: Sequence[str]) -> DayUsage:
        """Return what namespaces were charged since midnight UTC."""
        today = self._clock().astimezone(UTC).date()
        return DayUsage(day=today, namespaces=await self.read(spending.read_spent, namespaces, today))

    async def verify(self, session_uid: str) -> list[str]:
        """Recompute a session's chain; return what does not fit, nothing when it is sound."""
        return await self.read(verify_chain, session_uid)

    def changes(self) -> Changes:
        """Return a subscription to commits: subscribe first, then read, then iterate it, and nothing is missed."""
        return self._bulletin.subscribe()


def _put_session(work: Work, session: SessionRow) -> None:
    sessions.put_session(work, session)
    if mailbox.is_over(session):
        mailbox.return_commands(work, session.uid)


def _mark_deleted(work: Work, uid: str, at: datetime) -> None:
    sessions.mark_deleted(work, uid, at)
    mailbox.return_commands(work, uid)


def _read_entries(conn: Connection, session_uid: str, after: int, limit: int) -> list[EntryRow]:
    query = select(entries).where(entries.c.session_uid == session_uid, entries.c.seq > after)
    return [to_entry(row) for row in conn.execute(query.order_by(entries.c.seq).limit(limit)).mappings()]


def _read_original_ids(conn: Connection, session_uid: str) -> dict[str, str]:
    query = select(tool_calls.c.call_id, tool_calls.c.original_id).where(tool_calls.c.session_uid == session_uid)
    return {row.call_id: row.original_id for row in conn.execute(query)}


def verify_chain(conn: Connection, session_uid: str) -> list[str]:
    """Recompute a session's chain; return one sentence for each thing that does not fit."""
    check = ChainCheck()
    problems: list[str] = []
    try:
        while page := _read_entries(conn, session_uid, check.head, _VERIFY_PAGE):
            problems += check.read(page)
    except ValueError as error:
        return [*problems, f"an entry after entry {check.head} cannot be read, it was changed: {error}"]
    problems += check.unexplained()
    recorded = conn.execute(
        select(usage.c.head, usage.c.digest).where(usage.c.session_uid == session_uid)
    ).one_or_none()
    if recorded is not None and (recorded.head, recorded.digest) != (check.head, check.digest):
        problems.append(f"the journal's head is entry {recorded.head}, but the chain ends with entry {check.head}")
    return problems
