"""Pages of a list of 100,000 sessions: time and size of the whole answer.

Sessions are put into a journal as they would stand there; pages are asked for over the gateway's own route, in this
process, without TLS and without the question who asks. Each page is read several times; the median counts. A server is
vacuumed first, as it does by itself within minutes.
"""

import argparse
import asyncio
import random
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx2
from sqlalchemy import insert

from agentsessions.journal.database import create_writer_engine, is_shared
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.sessions import to_search
from agentsessions.journal.store import Store
from agentsessions.journal.tables import session_labels, sessions, usage
from agentsessions.journal.writer import Work

from .app import an_app
from .figures import percentile, show

PATH: Final = "/api/v1/agent-sessions"
MOST_MILLISECONDS: Final = 100.0
MOST_BYTES: Final = 65_536
T0: Final = datetime(2026, 1, 1, tzinfo=UTC)
PHASES: Final = ("Running", "Idle", "Completed", "Completed", "Completed", "Failed")
READINGS: Final = 5
CHUNK: Final = 2000
PAGES: Final[dict[str, dict[str, Any]]] = {
    "first page": {},
    "all namespaces": {"namespace": "*"},
    "offset 10,000": {"namespace": "*", "offset": 10_000},
    "two phases": {"phase": ["Running", "Idle"]},
    "an owner": {"namespace": "*", "owner": "user7@example.com"},
    "a label of a tenth": {"namespace": "*", "label": "team=t3"},
    "a label of one": {"namespace": "*", "label": "number=77"},
    "a text of some": {"namespace": "*", "text": "abc"},
    "a text of all": {"namespace": "*", "text": "session-"},
    "a text of none": {"namespace": "*", "text": "no such words"},
    "a span of time": {"createdAfter": "2026-01-05T00:00:00Z", "createdBefore": "2026-01-06T00:00:00Z"},
    "deleted too": {"deleted": True},
    "by name": {"namespace": "*", "sort": "name"},
    "by change": {"namespace": "*", "sort": "-updatedAt"},
    "by activity": {"namespace": "*", "sort": "-lastActivity"},
    "a text of some, by activity": {"namespace": "*", "text": "abc", "sort": "-lastActivity"},
    "a text of all, by activity": {"namespace": "*", "text": "session-", "sort": "-lastActivity"},
    "by activity, one namespace": {"sort": "-lastActivity"},
    "two letters": {"namespace": "*", "text": "ab"},
    "a text of some, by name": {"namespace": "*", "text": "abc", "sort": "name"},
    "a text of all, by name": {"namespace": "*", "text": "session-", "sort": "name"},
    "a text of some, one phase": {"namespace": "*", "text": "abc", "phase": "Failed"},
    "by start": {"namespace": "*", "sort": "-startedAt"},
    "by end, offset 10,000": {"namespace": "*", "sort": "-finishedAt", "offset": 10_000},
    "by phase": {"namespace": "*", "sort": "phase"},
    "deleted too, offset 10,000": {"deleted": True, "offset": 10_000},
}


def rows_of(number: int, words: list[str], chance: random.Random) -> tuple[SessionRow, dict[str, Any]]:
    """Return a session and its usage, as the journal would have them."""
    created_at = T0 + timedelta(seconds=37 * number)
    uid = str(uuid.UUID(int=chance.getrandbits(128)))
    goal = " ".join(chance.choices(words, k=40))
    row = SessionRow(
        uid=uid,
        namespace="team-0" if number % 2 else f"team-{number % 50}",
        namespace_uid="n",
        name=f"session-{number}",
        title=" ".join(chance.choices(words, k=6)),
        owner=f"user{number % 100}@example.com",
        labels={"team": f"t{number % 10}", "number": str(number)},
        goal=goal,
        spec={"goal": goal, "agents": [{"name": "agent", "instructions": " ".join(chance.choices(words, k=60))}]},
        reason="GoalReached",
        created_at=created_at,
        started_at=created_at,
        finished_at=created_at + timedelta(seconds=60),
        updated_at=created_at + timedelta(seconds=chance.randrange(10_000)),
        deleted_at=created_at if number % 20 == 0 else None,
    )
    spent = {"session_uid": uid, "head": 20, "digest": "d" * 64, "has_goal": True, "steps": 4, "input_tokens": 4000}
    return row, spent | {"last_at": created_at + timedelta(seconds=chance.randrange(10_000))}


def put_all(work: Work, numbers: range, words: list[str], chance: random.Random) -> None:
    """Write sessions in one go."""
    made = [rows_of(number, words, chance) for number in numbers]
    left_out = {"usage", "last_at"}
    columns = [
        {name: getattr(row, name) for name in SessionRow.__slots__ if name not in left_out}
        | {"limits": {}, "search": to_search(row), "phase": chance.choice(PHASES)}
        for row, _ in made
    ]
    work.conn.execute(insert(sessions), columns)
    work.conn.execute(insert(usage), [spent for _, spent in made])
    labelled = [{"session_uid": row.uid, "key": k, "value": v} for row, _ in made for k, v in row.labels.items()]
    work.conn.execute(insert(session_labels), labelled)


async def fill(store: Store, count: int) -> None:
    """Put so many sessions into the journal."""
    chance = random.Random(1)  # noqa: S311 - the same sessions each time
    words = [uuid.UUID(int=chance.getrandbits(128)).hex[:7] for _ in range(3000)]
    for first in range(0, count, CHUNK):
        numbers = range(first, min(first + CHUNK, count))
        await store.write(lambda work, numbers=numbers: put_all(work, numbers, words, chance))  # type: ignore[misc]


def vacuum(url: str) -> None:
    """Tell the server's planner what there is now."""
    with create_writer_engine(url).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")


async def read(http: httpx2.AsyncClient, query: dict[str, Any]) -> tuple[float, int, dict[str, Any]]:
    """Ask for a page; return milliseconds, bytes and the page."""
    began = time.perf_counter()
    answer = await http.get(PATH, params={"namespace": "team-0"} | query)
    milliseconds = (time.perf_counter() - began) * 1000
    answer.raise_for_status()
    page: dict[str, Any] = answer.json()
    return milliseconds, len(answer.content), page


async def measure_page(http: httpx2.AsyncClient, name: str, query: dict[str, Any]) -> bool:
    """Read one kind of page several times, print it, and say whether it holds the targets."""
    readings = [await read(http, query) for _ in range(READINGS)]
    taken, size = sorted(one[0] for one in readings), readings[0][1]
    milliseconds = percentile(taken, 50)
    is_fine = milliseconds <= MOST_MILLISECONDS and size <= MOST_BYTES
    page, mark = readings[0][2], "" if is_fine else "  NOT FINE"
    counted = f"{len(page['items']):4} of {page['total']:7,}"
    print(f"  {name:28} {counted}  {milliseconds:6.1f} ms (most {taken[-1]:6.1f})  {size / 1024:5.1f} KiB{mark}")
    return is_fine


async def leaf(http: httpx2.AsyncClient, pages: int) -> bool:
    """Read on from page to page by cursor, and print what the pages took."""
    taken, query = [], {"namespace": "*", "sort": "name"}
    for _ in range(pages):
        milliseconds, _, page = await read(http, query)
        taken.append(milliseconds)
        if "next" not in page:
            break
        query["cursor"] = page["next"]
    print(f"  {len(taken)} pages by cursor: {show(taken, 'ms', 1)}")
    return percentile(taken, 50) <= MOST_MILLISECONDS


async def measure(url: str, count: int, pages: int) -> bool:
    """Fill a journal and read its pages."""
    store = await Store.open(url)
    try:
        await fill(store, count)
        if is_shared(url):
            vacuum(url)
        transport = httpx2.ASGITransport(an_app(store, "n"))
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as http:
            await read(http, {})
            results = [await measure_page(http, name, query) for name, query in PAGES.items()]
            return all([*results, await leaf(http, pages)])
    finally:
        await store.close()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--sessions", type=int, default=100_000, help="sessions in the journal (default: %(default)s)")
    parser.add_argument("--pages", type=int, default=200, help="pages read by cursor (default: %(default)s)")
    parser.add_argument(
        "--url", help="an empty database instead, as `hack/postgres run` prints one; what is put there stays"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where the database goes (default: a temporary one)")


def run(options: argparse.Namespace) -> bool:
    """Measure in a folder that is removed afterwards; say whether every page holds the targets."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        url = options.url or f"sqlite:///{Path(folder) / 'journal.db'}"
        return asyncio.run(measure(url, options.sessions, options.pages))
