"""The page as a user has it: `ui` on a real cluster, a real browser, real pods."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.commandline import CommandLine, a_place
from tests.e2e.product import Product
from tests.integration.page_stage import a_browser

pytestmark = [pytest.mark.e2e, pytest.mark.requirement("OPS-6")]

PATIENCE_MILLISECONDS = 120_000
LIST_FILES = {
    "when": {"step": 1, "text": "files"},
    "answer": {"text": "I look.", "toolCalls": [{"name": "shell", "arguments": {"command": "echo a-file"}}]},
}
TALK = {"answer": {"text": "You said: ${text}"}}


@pytest.fixture(scope="module")
def cli(product: Product) -> Iterator[CommandLine]:
    with a_place(product) as found:
        found.script(LIST_FILES, TALK, name="default")
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.mark.requirement("OPS-5")
def test_ui_opens_the_page_on_which_a_session_is_watched_talked_to_and_paused(
    cli: CommandLine, browser: Browser
) -> None:
    cli("create", "seen", "--goal", "List the files.", "--open")
    with cli.running("ui", "seen", "--no-open") as running:
        address = running.await_line("http://127.0.0.1:").strip()
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MILLISECONDS)
        expect.set_options(PATIENCE_MILLISECONDS)
        page.goto(address)
        page.wait_for_url(f"**/ui/sessions/{cli.namespace}/seen")
        expect(page.locator(".tool summary")).to_contain_text("shell")
        expect(page.locator(".answer")).to_have_count(1)
        page.get_by_label("Message").fill("good morning")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".answer").last).to_have_text("You said: good morning")
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("[data-phase]")).to_have_text("Paused")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("[data-phase]")).not_to_have_text("Paused")
        page.get_by_role("link", name=cli.namespace).click()
        expect(page.get_by_role("link", name="seen")).to_be_visible()
        page.close()


def test_ui_says_in_a_sentence_that_the_gateway_is_not_there(cli: CommandLine) -> None:
    sentence = cli.refused("ui", "--no-open", "--system-namespace", "nowhere")
    assert "nowhere" in sentence
