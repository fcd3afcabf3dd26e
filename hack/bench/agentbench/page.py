"""The page of a session of 10,000 entries in a real browser: to its first paint, and for a live update.

The session is put into a journal as it would stand there; the gateway's app serves it from this process, without TLS
and without the question who asks, to the system's Chromium on this machine. Each reading is a fresh browser profile.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvicorn
from playwright.async_api import Browser, async_playwright

from agentsessions.api.reasons import Phase
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import Store, utc_now
from agentsessions.journal.writer import Work

from .app import an_app
from .figures import percentile, show

MOST_MILLISECONDS: Final = 1000.0
PER_STEP: Final = 4
SESSION: Final = "s"
TEXT: Final = "Some **words** with `code`, and a [link](https://example.com).\n\n- one\n- two\n\n" + "word " * 60
BROWSER: Final = Path(__file__).resolve().parents[2] / "browser"
PAINT: Final = """() => new Promise((done) => new PerformanceObserver((found) => done(
  found.getEntriesByName('first-contentful-paint')[0].startTime)).observe({type: 'paint', buffered: true}))"""
UPDATE: Final = """async () => {
  const began = performance.now();
  await refresh(document.querySelector('[data-session]'));
  return performance.now() - began;
}"""


def tell(work: Work, steps: int) -> None:
    """Write steps that think and call a tool."""
    ledger = Ledger(work, SESSION)
    for number in range(1, steps + 1):
        place = Place("agent", 1, 1, number)
        ledger.append(EntryType.THINKING, {"text": TEXT}, place)
        call = {"callId": f"c{number}", "name": "shell"}
        ledger.append(EntryType.TOOL_CALL, {**call, "arguments": '{"command": "ls -l"}'}, place)
        ledger.append(EntryType.TOOL_RESULT, {**call, "output": "a line\n" * 40, "durationMilliseconds": 5}, place)
        ledger.append(EntryType.STEP_COMPLETE, {"inputTokens": 900, "outputTokens": 90}, place)
    ledger.save()


async def fill(store: Store, entries: int) -> None:
    """Put the session into the journal."""
    now = utc_now()
    row = SessionRow(
        uid=SESSION, namespace="bench", name=SESSION, goal="go", phase=Phase.COMPLETED, created_at=now, finished_at=now
    )
    await store.put_session(row)
    await store.write(lambda work: tell(work, entries // PER_STEP))


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an app on a free port of this machine."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.wait([running], timeout=0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


async def read(browser: Browser, url: str) -> tuple[float, float, float]:
    """Open the page; return milliseconds to the answer's end, to the first paint, and of a live update."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(url)
    paint: float = await page.evaluate(PAINT)
    answer: float = await page.evaluate("performance.getEntriesByType('navigation')[0].responseEnd")
    update: float = await page.evaluate(UPDATE)
    await context.close()
    return answer, paint, update


async def measure(folder: Path, program: str, entries: int, readings: int) -> bool:
    """Fill a journal, read the page, and say whether it holds the target."""
    store = await Store.open(f"sqlite:///{folder / 'journal.db'}")
    try:
        began = time.monotonic()
        await fill(store, entries)
        print(f"  {entries} entries written in {time.monotonic() - began:.1f} s")
        async with async_playwright() as playwright, serving(an_app(store)) as url:
            browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            address = f"{url}/ui/sessions/bench/{SESSION}"
            await read(browser, address)
            answers, paints, updates = zip(*[await read(browser, address) for _ in range(readings)], strict=True)
            await browser.close()
    finally:
        await store.close()
    print(f"  whole answer  {show(answers, 'ms', 0)}")
    print(f"  first paint   {show(paints, 'ms', 0)}")
    print(f"  live update   {show(updates, 'ms', 0)}")
    return percentile(paints, 99) <= MOST_MILLISECONDS


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add this bench's options."""
    parser.add_argument("--entries", type=int, default=10_000, help="entries of the session (default: %(default)s)")
    parser.add_argument("--readings", type=int, default=10, help="times that it is opened (default: %(default)s)")


def run(options: argparse.Namespace) -> bool:
    """Measure in a folder that is removed afterwards."""
    found = subprocess.run([sys.executable, BROWSER, "path"], stdout=subprocess.PIPE, text=True, check=True)
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder), found.stdout.strip(), options.entries, options.readings))
