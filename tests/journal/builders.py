"""What journal tests are made of: sessions, pods, answers, and a clock that tests move."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agentsessions.api.levels import Level
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.api.wire import Commit, Outcome, SideEffect, ToolBegin, ToolSettle
from agentsessions.journal.rows import (
    CallRequest,
    Course,
    MessageRow,
    NewMessage,
    PinnedTurn,
    PodIdentity,
    Replay,
    Reserved,
    SessionRow,
    TokenUsage,
)
from agentsessions.journal.store import ENDS, Store

T0 = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
NO_LIMITS = EffectiveLimits()


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = T0

    def __call__(self) -> datetime:
        return self.now

    def move(self, **span: int) -> None:
        self.now += timedelta(**span)


def a_session(uid: str = "s1", **changes: Any) -> SessionRow:
    row = SessionRow(
        uid=uid,
        namespace="default",
        name=uid,
        namespace_uid="n1",
        goal="say hello",
        spec={"goal": "say hello"},
        phase=Phase.STARTING,
        phase_started_at=T0,
        created_at=T0,
    )
    return replace(row, **changes)


def an_answer(text: str = "", *tools: str, finish_reason: str = "", ids: str = "same") -> dict[str, Any]:
    """A completion whose tool calls all have the same id: providers do that."""
    calls = [{"id": ids, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in tools]
    message: dict[str, Any] = {"role": "assistant", "content": text or None}
    if calls:
        message["tool_calls"] = calls
    reason = finish_reason or ("tool_calls" if calls else "stop")
    return {
        "id": "c1",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }


@dataclass
class Player:
    """A runner, as far as the journal sees one."""

    store: Store
    pod: PodIdentity

    async def reserve(self, digest: str = "d1", **changes: Any) -> Any:
        asked = CallRequest(**{"digest": digest, "model": "m", "request_bytes": 200, **changes})
        return await self.store.reserve_call(self.pod, asked)

    async def ask(self, answer: dict[str, Any], digest: str = "d1", **changes: Any) -> dict[str, Any]:
        """Make a model call and return the relayed answer."""
        reservation = await self.reserve(digest, **changes)
        if isinstance(reservation, Replay):
            return reservation.answer
        assert isinstance(reservation, Reserved), reservation
        settled: dict[str, Any] = await self.settle(reservation, answer)
        return settled

    async def settle(self, reserved: Reserved, answer: dict[str, Any], spent: tuple[int, int] = (100, 10)) -> Any:
        return await self.store.settle_call(self.pod, reserved.call_id, answer, TokenUsage(*spent), estimated=False)

    async def begin(self, call_id: str, name: str = "shell") -> Any:
        begin = ToolBegin(call_id=call_id, name=name, arguments="{}", side_effect=SideEffect.INTERNAL)
        return await self.store.begin_tool(self.pod, begin)

    async def report(self, call_id: str, output: str) -> None:
        await self.store.settle_tool(self.pod, ToolSettle(call_id=call_id, output=output, duration_milliseconds=5))

    async def commit(self, k: int, outcome: Outcome, course: Course = ENDS, **changes: Any) -> Any:
        return await self.store.commit_turn(self.pod, Commit(k=k, outcome=outcome, **changes), course)

    async def answer(self, text: str, course: Course) -> PinnedTurn:
        """Play the next turn to a text, and close it."""
        turn = await self.store.pin_turn(self.pod, course)
        await self.ask(an_answer(text), f"d{turn.round}.{turn.k}")
        await self.commit(turn.k, Outcome.FINAL, course, round=turn.round)
        return turn

    async def say(self, content: str, key: str | None = None) -> MessageRow:
        """Send a message, as a person does."""
        message = NewMessage(f"m-{content}", content, "alice", key)
        return await self.store.put_message(self.pod.session_uid, message)

    async def level(self) -> Level:
        level = await self.store.level(self.pod.session_uid)
        assert level is not None
        return level

    async def types(self) -> list[str]:
        return [entry.type.value for entry in await self.store.entries(self.pod.session_uid)]


async def a_player(store: Store, uid: str = "s1", epoch: int = 1, **changes: Any) -> Player:
    """Put a session, fence a pod for it, and return its runner."""
    if await store.get_session_by_uid(uid) is None:
        await store.put_session(a_session(uid, **changes))
    pod_uid = f"{uid}-pod-{epoch}"
    await store.fence(uid, "agent", epoch, pod_uid)
    pod = await store.identify_pod(pod_uid)
    assert pod is not None
    return Player(store, pod)


def call_ids(answer: dict[str, Any]) -> list[str]:
    return [call["id"] for call in answer["choices"][0]["message"].get("tool_calls", ())]


async def play(store: Store, uid: str, command: str, last: str | None = "Done.") -> None:
    """Play a step that runs a command, and one that ends the session unless `last` is None."""
    player = await a_player(store, uid)
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("I look.", "shell")))
    await player.begin(call_id)
    await player.report(call_id, command)
    await player.commit(1, Outcome.CONTINUE)
    if last is not None:
        await store.pin_turn(player.pod)
        await player.ask(an_answer(last), "d2")
        await player.commit(2, Outcome.FINAL)
