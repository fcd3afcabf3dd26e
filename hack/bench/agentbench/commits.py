"""Turns a second that the journal takes, in this process.

Each session plays turns one after the other as a runner does: pin, reserve, settle the answer, begin and settle one
tool, commit. All of them are acknowledged after fsync. Printed are whole turns and single acknowledged writes.
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


async def play(store: Store, pod: PodIdentity, turns: int, watch: Stopwatch) -> None:
    """Play a session's turns."""
    for k in range(1, turns + 1):
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


async def measure(url: str, sessions: int, turns: int) -> bool:
    """Play all sessions at once, and print what it took."""
    store = await Store.open(url)
    names = f"{int(time.time())}-"  # a database that is given may hold those of another run
    pods = [await prepare(store, f"s{names}{i}") for i in range(sessions)]
    watch = Stopwatch()
    started_at = time.perf_counter()
    await asyncio.gather(*(play(store, pod, turns, watch) for pod in pods))
    seconds = time.perf_counter() - started_at
    problems = [problem for pod in pods for problem in await store.verify(pod.session_uid)]
    await store.close()
    report(sessions * turns, seconds, watch)
    print(f"chains: {len(problems)} problems")
    return not problems


def report(turns: int, seconds: float, watch: Stopwatch) -> None:
    """Print rates and percentiles."""
    writes = sum(len(taken) for taken in watch.taken.values())
    print(f"whole turns: {turns / seconds:,.0f}/s   acknowledged writes: {writes / seconds:,.0f}/s")
    for name, taken in watch.taken.items():
        cuts = statistics.quantiles(taken, n=100)
        print(f"  {name:12} p50 {cuts[49]:7.1f} ms   p99 {cuts[98]:7.1f} ms")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--sessions", type=int, default=64, help="sessions that play at once (default: %(default)s)")
    parser.add_argument("--turns", type=int, default=20, help="turns of each (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=None, help="where the database goes (default: a temporary one)")
    parser.add_argument("--url", help="the database instead, as `hack/postgres run` prints one; what is in it stays")


def run(options: argparse.Namespace) -> bool:
    """Measure in a folder that is removed afterwards; say whether every chain verifies."""
    gc.freeze()  # as the gateway does once it has imported: the collector need not look at that again and again
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'journal.db'}"
        return asyncio.run(measure(url, options.sessions, options.turns))
