"""How long an event takes to 200 viewers of one session, who are in another process.

The gateway's own route serves them over TLS; only the question who asks is left out. A writer commits events that hold
the time of their writing, each viewer notes when it read them, on the same clock.
"""

import argparse
import asyncio
import json
import multiprocessing
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from agentsessions.api.reasons import Phase
from agentsessions.gateway.app import create_app
from agentsessions.gateway.auth import User
from agentsessions.gateway.certificates import renew
from agentsessions.gateway.server import create_server
from agentsessions.gateway.streams import Changes, StreamCount
from agentsessions.gateway.tails import Tails
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import Store
from agentsessions.journal.writer import Work

from .figures import percentile, show
from .machine import read_usage

NAME: Final = "watched"
MOST_MILLISECONDS: Final = 500.0
TEXT: Final = "word " * 200
SENT_AT: Final = re.compile(rb'"sentAt":([0-9.]+)')
GATHER_SECONDS: Final = 60


def write_event(work: Work) -> None:
    """Commit one event, as a tool's result is."""
    ledger = Ledger(work, NAME)
    ledger.append(EntryType.TOOL_RESULT, {"sentAt": time.time(), "output": TEXT}, Place("agent", 1, 1, 1))
    ledger.save()


def finish(work: Work) -> None:
    """End the session, and with it all streams."""
    ledger = Ledger(work, NAME)
    ledger.append(EntryType.DONE, {})
    ledger.save()


async def view(port: int, context: ssl.SSLContext) -> list[float]:
    """Follow the session to its end; return how many milliseconds each event took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=2**20)
    writer.write(b"GET /api/v1/agent-sessions/%s/events HTTP/1.1\r\nHost: gateway\r\n\r\n" % NAME.encode())
    taken: list[float] = []
    while line := await reader.readline():
        if line.startswith(b"data: "):
            found = SENT_AT.search(line)
            if found:
                taken.append((time.time() - float(found[1])) * 1000)
        if line == b"event: done\n":
            break
    writer.close()
    return taken


def view_all(port: int, viewers: int) -> list[list[float]]:
    """Follow the session so many times at once; runs in a process of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the bench made the certificate itself a moment ago

    async def together() -> list[list[float]]:
        return list(await asyncio.gather(*(view(port, context) for _ in range(viewers))))

    return asyncio.run(together())


def server_context(folder: Path) -> ssl.SSLContext:
    """Return a TLS context with a certificate as the gateway makes its own."""
    leaf = renew(None, ("localhost",), datetime.now(UTC)).leaf
    (folder / "tls.pem").write_bytes(leaf.certificate + leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.pem")
    return context


@asynccontextmanager
async def serving(folder: Path, viewers: int) -> AsyncIterator[tuple[Store, Tails, int]]:
    """Serve the gateway's routes over a journal with one session."""
    store = await Store.open(f"sqlite:///{folder / 'journal.db'}")
    now = datetime.now(UTC)
    row = SessionRow(uid=NAME, namespace="default", name=NAME, namespace_uid="n", phase=Phase.RUNNING, created_at=now)
    await store.put_session(row)
    changes = Changes(store)

    async def say_yes(*_: object) -> bool:
        return True

    async def namespace_uid(_: str) -> str:
        return "n"

    async def known(_: object) -> User:
        return User("bench")

    parts = SimpleNamespace(
        store=store,
        changes=changes,
        tails=Tails(store, changes),
        streams=StreamCount(viewers),
        auth=SimpleNamespace(user=known, require=say_yes, is_allowed=say_yes, may_go_on=say_yes),
        watch=SimpleNamespace(namespace_uid=namespace_uid),
    )
    app = create_app(parts)  # type: ignore[arg-type]  # the parts that streams use
    server = create_server(app, "127.0.0.1", 0, server_context(folder))
    running = [asyncio.create_task(server.serve()), asyncio.create_task(changes.run())]
    while not server.started:
        await asyncio.wait(running, timeout=0.01)
    try:
        yield store, parts.tails, server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await running[0]
        running[1].cancel()
        await store.close()


async def gathered(tails: Tails, viewers: int) -> None:
    """Wait until all viewers watch."""
    async with tails.join(NAME) as (tail, _):
        deadline = time.monotonic() + GATHER_SECONDS
        while len(tail.viewers) <= viewers:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(tail.viewers) - 1} of {viewers} viewers came in {GATHER_SECONDS} s")
            await asyncio.sleep(0.05)


async def measure(folder: Path, viewers: int, rate: int, seconds: int) -> bool:
    """Write events at a rate while viewers follow, and print how long events took to each of them."""
    async with serving(folder, viewers) as (store, tails, port):
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as others:
            viewing = loop.run_in_executor(others, view_all, port, viewers)
            await gathered(tails, viewers)
            began, used = time.monotonic(), read_usage([multiprocessing.current_process().pid or 0])
            for number in range(rate * seconds):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                await store.write(write_event)
            cpu = read_usage([multiprocessing.current_process().pid or 0]).cpu_seconds - used.cpu_seconds
            took = time.monotonic() - began
            await store.write(finish)
            taken = await viewing
    return report(taken, rate * seconds, cpu / took)


def report(taken: list[list[float]], events: int, cores: float) -> bool:
    """Print what came when; say whether every viewer got every event in time."""
    all_taken = [one for viewer in taken for one in viewer]
    missed = sum(events - len(viewer) for viewer in taken)
    print(f"delivery to {len(taken)} viewers: {show(all_taken, 'ms', 1)}")
    print(json.dumps({"events": events, "missed": missed, "gatewayCores": round(cores, 2)}))
    return missed == 0 and percentile(all_taken, 99) <= MOST_MILLISECONDS


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--viewers", type=int, default=200, help="streams of one session (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=10, help="events a second (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=20, help="how long events are written (default: %(default)s)")


def run(options: argparse.Namespace) -> bool:
    """Measure; say whether p99 holds its target and nobody missed an event."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), options.viewers, options.rate, options.seconds))
