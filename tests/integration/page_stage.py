"""What browser tests of the page are made of: a browser that tells on pages, and sessions written into a journal."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from agentsessions.api.reasons import Phase
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.store import Store
from agentsessions.journal.writer import Work
from tests.integration.crds_cluster import ROOT
from tests.journal.builders import a_session

SPY = "window.stolen = []; window.steal = (...found) => window.stolen.push(found);"


@contextmanager
def a_browser() -> Iterator[Browser]:
    """Run the system's Chromium, without a window."""
    command = [sys.executable, str(ROOT / "hack" / "browser"), "path"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        pytest.fail(f"{found.stderr.strip()}; `python3 hack/browser install` does it on Debian, as root")
    with sync_playwright() as playwright:
        # As root, and in containers, Chromium cannot make its own sandbox.
        browser = playwright.chromium.launch(executable_path=found.stdout.strip(), args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visitor:
    """Somebody's browser, which notes what a page does that it should not."""

    context: BrowserContext
    home: str
    """Address that everything must come from."""
    strange: list[str] = field(default_factory=list)
    """Requests elsewhere, scripts that ran, refusals of the content security policy, errors of scripts."""

    def __post_init__(self) -> None:
        self.context.add_init_script(SPY)
        self.context.on("request", lambda request: self._note_request(request.url))
        self.context.on("console", lambda message: self._note_console(message.type, message.text))
        self.context.on("weberror", lambda error: self.strange.append(str(error.error)))
        self.context.on("dialog", lambda dialog: self.strange.append(dialog.message))

    def open(self, path: str) -> Page:
        page = self.context.new_page()
        page.goto(path)
        return page

    def look_at(self, page: Page, path: str) -> None:
        """Load a page; note what it stole."""
        page.goto(path)
        self.strange += [str(one) for one in page.evaluate("window.stolen ?? []")]

    def _note_request(self, url: str) -> None:
        if not url.startswith(self.home):
            self.strange.append(f"request: {url}")

    def _note_console(self, kind: str, text: str) -> None:
        if "Content Security Policy" in text or "Refused" in text or kind == "warning":
            self.strange.append(f"console: {text}")


@contextmanager
def a_visitor(browser: Browser, url: str, token: str = "", **options: object) -> Iterator[Visitor]:
    """Give a browser without any history, signed in by the form when there is a token."""
    context = browser.new_context(base_url=url, ignore_https_errors=True, **options)  # type: ignore[arg-type]
    context.set_default_timeout(30_000)
    visitor = Visitor(context, url)
    try:
        if token:
            sign_in(context, token)
        yield visitor
    finally:
        context.close()


def sign_in(context: BrowserContext, token: str) -> None:
    page = context.new_page()
    page.goto("/ui/signin")
    page.get_by_label("Bearer token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: urlsplit(url).path == "/ui/sessions")
    page.close()


Story = Callable[[Ledger], None]


def write_sessions(folder: Path, stories: Iterable[tuple[SessionRow, Story]]) -> None:
    """Write sessions of the past into the journal of a gateway that does not run."""

    async def write() -> None:
        store = await Store.open(f"sqlite:///{folder / 'journal.db'}")
        try:
            for row, story in stories:
                await store.put_session(row)
                await store.write(lambda work, row=row, story=story: _tell(work, row.uid, story))
        finally:
            await store.close()

    with ThreadPoolExecutor(1) as thread:  # a browser keeps a loop in this one
        thread.submit(lambda: asyncio.run(write())).result()


def _tell(work: Work, uid: str, story: Story) -> None:
    ledger = Ledger(work, uid)
    story(ledger)
    ledger.save()


def a_past(uid: str, namespace: str, namespace_uid: str, **changes: object) -> SessionRow:
    """Return a session that completed."""
    given = {"namespace": namespace, "namespace_uid": namespace_uid, "phase": Phase.COMPLETED, **changes}
    return a_session(uid, **given)


def many_steps(count: int) -> Story:
    """Return a story of steps that call a tool each: four entries a step."""

    def tell(ledger: Ledger) -> None:
        for number in range(1, count + 1):
            place = Place("agent", 1, 1, number)
            ledger.append(EntryType.STEP_START, {"model": "m", "attempt": 1}, place)
            call = {"callId": f"c{number}", "name": "shell"}
            ledger.append(EntryType.TOOL_CALL, {**call, "arguments": f'{{"command": "echo {number}"}}'}, place)
            result = {**call, "output": f"{number}\n" * 5, "durationMilliseconds": 12, "isError": False}
            ledger.append(EntryType.TOOL_RESULT, result, place)
            spent = {"inputTokens": 100, "outputTokens": 10, **({"durationMilliseconds": 700} if number % 2 else {})}
            ledger.append(EntryType.STEP_COMPLETE, spent, place)

    return tell


def full_of(text: str) -> Story:
    """Return a story in which everybody says the same text, everywhere."""

    def tell(ledger: Ledger) -> None:
        place = Place(text, 1, 1, 1)
        ledger.append(EntryType.MESSAGE, {"role": "user", "content": text, "id": text, "actor": text}, place)
        ledger.append(EntryType.STEP_START, {"model": text, "attempt": 1}, place)
        ledger.append(EntryType.THINKING, {"text": text}, place)
        ledger.append(EntryType.TOOL_CALL, {"callId": "c", "name": text, "arguments": text}, place)
        ledger.append(EntryType.TOOL_RESULT, {"callId": "c", "name": text, "output": text, "isError": True}, place)
        ledger.append(EntryType.STEP_COMPLETE, {"inputTokens": 1, "outputTokens": 1}, place)
        ledger.append(EntryType.OUTPUT, {"text": text}, Place("agent", 1, 1, 2))
        ledger.append(EntryType.ERROR, {"code": text, "message": text}, Place("agent", 1, 1, 3))
        ledger.append(EntryType.ERROR, {"code": text, "message": text})
        ledger.append(EntryType.STATE, {"phase": text, "reason": text, "message": text})
        ledger.append(EntryType.REDACTED, {"seqs": [], "actor": text})

    return tell
