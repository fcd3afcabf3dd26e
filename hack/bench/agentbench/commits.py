"""Turns a second that the journal takes, in this process.

Each session plays turns one after the other as a runner does: pin, reserve, settle the answer, begin and settle one
tool, commit. All of them are acknowledged after fsync. First all sessions play as fast as they can, which shows how
many turns the journal takes, and how long a write waits when all others do too. Then turns begin at a steady rate,
whatever became of those before, which shows how long a write takes at that load.
"""

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from agentsessions.api.wire import Commit, Outcome, SideEffect, ToolBegin, ToolSettle
from agentsessions.journal.rows import CallRequest, PodIdentity, Reserved, SessionRow, TokenUsage
from agentsessions.journal.store import Store

T = TypeVar("T")
PERIOD_SECONDS = 2.0
"""A session plays a turn so often, at a steady rate."""
TEXT = "word " * 200


class Stopwatch:
    """Collects how long each kind of write took, in milliseconds."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    async def time(self, name: str, writing: Awaitable[T]) -> T:
        """Wait for a write."""
        started_at = time.perf_counter()
        result = await writing
        self.taken.setdefault(name, []).append((time.perf_counter() - started_at) * 1000)
        return result


def answer_with_a_tool() -> dict[str, Any]:
    """Return an answer as a provider gives it."""
    call = {"id": "x", "type": "function", "function": {"name": "shell", "arguments": '{"command": "ls"}'}}
    message = {"role": "assistant", "content": TEXT, "tool_calls": [call]}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}


async def play(store: Store, pod: PodIdentity, turns: int, watch: Stopwatch, *, every: float = 0.0) -> None:
    """Play a session's turns, each `every` seconds behind the one before, or at once when that took longer."""
    loop = asyncio.get_running_loop()
    begins_at = loop.time()
    for k in range(1, turns + 1):
        await asyncio.sleep(begins_at - loop.time())
        begins_at += every
        await watch.time("pin", store.pin_turn(pod))
        request = CallRequest(digest=f"{k:064}", model="m", request_bytes=4000 * k)
        reserved = await watch.time("reserve", store.reserve_call(pod, request))
        if not isinstance(reserved, Reserved):
            raise TypeError(f"{reserved} instead of a reservation")
        answer = await watch.time(
            "settle",
            store.settle_call(pod, reserved.call_id, answer_with_a_tool(), TokenUsage(900, 90), estimated=False),
        )
        call_id = answer["choices"][0]["message"]["tool_calls"][0]["id"]
        begin = ToolBegin(call_id=call_id, name="shell", arguments="{}", side_effect=SideEffect.INTERNAL)
        await watch.time("tool begin", store.begin_tool(pod, begin))
        settle = ToolSettle(call_id=call_id, output=TEXT, duration_milliseconds=3)
        await watch.time("tool settle", store.settle_tool(pod, settle))
        await watch.time("commit", store.commit_turn(pod, Commit(k=k, outcome=Outcome.CONTINUE)))


async def prepare(store: Store, uid: str) -> PodIdentity:
    """Put a session and its pod into the journal."""
    now = datetime.now(UTC)
    row = SessionRow(uid=uid, namespace="bench", name=uid, goal="go", created_at=now)
    await store.put_session(row)
    await store.set_goal_message(uid, "go")
    await store.fence(uid, "agent", 1, f"{uid}-pod")
    pod = await store.identify_pod(f"{uid}-pod")
    if pod is None:
        raise LookupError(uid)
    return pod


async def measure(url: str, sessions: int, turns: int, rate: float) -> bool:
    """Play sessions as fast as they can, then others at a steady rate, and print what it took."""
    store = await Store.open(url)
    print(f"{sessions} sessions, as fast as they can")
    found = await play_all(store, sessions, turns)
    if rate:
        print(f"{rate:,.0f} turns a second are begun")
        found += await play_all(store, round(rate * PERIOD_SECONDS), 5, every=PERIOD_SECONDS)
    await store.close()
    print(f"chains: {len(found)} problems")
    return not found


async def play_all(store: Store, sessions: int, turns: int, *, every: float = 0.0) -> list[str]:
    """Play sessions beside each other, begun evenly over their period; return what their chains do not hold."""
    names = f"{time.time_ns()}-"  # a database that is given may hold those of another run
    pods = [await prepare(store, f"s{names}{i}") for i in range(sessions)]
    watch = Stopwatch()

    async def play_later(pod: PodIdentity, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await play(store, pod, turns, watch, every=every)

    started_at = time.perf_counter()
    await asyncio.gather(*(play_later(pod, every * i / sessions) for i, pod in enumerate(pods)))
    report(sessions * turns, time.perf_counter() - started_at, watch)
    return [problem for pod in pods for problem in await store.verify(pod.session_uid)]


def report(turns: int, seconds: float, watch: Stopwatch) -> None:
    """Print rates and percentiles."""
    writes = sum(len(taken) for taken in watch.taken.values())
    print(f"  whole turns: {turns / seconds:,.0f}/s   acknowledged writes: {writes / seconds:,.0f}/s")
    for name, taken in watch.taken.items():
        cuts = statistics.quantiles(taken, n=100)
        print(f"    {name:12} p50 {cuts[49]:7.1f} ms   p99 {cuts[98]:7.1f} ms")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--sessions", type=int, default=64, help="sessions that play at once (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=20, help="turns of each (default: %(default)s)")
    parser.add_argument(
        "--rate", type=float, default=300.0, help="turns a second that are begun then; 0: none (default: %(default)s)"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where the database goes (default: a temporary one)")
    parser.add_argument("--url", help="the database instead, as `hack/postgres run` prints one; what is in it stays")


def run(options: argparse.Namespace) -> bool:
    """Measure in a folder that is removed afterwards; say whether every chain verifies."""
    gc.freeze()  # as the gateway does once it has imported: the collector need not look at that again and again
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'journal.db'}"
        return asyncio.run(measure(url, options.sessions, options.turns, options.rate))
