"""The page on an address of the user's machine: who is let in, what is passed on, and what is not."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from http.cookies import SimpleCookie
from urllib.parse import urlsplit

import httpx2
import pytest

from agentsessions.cli.localpage import LocalPage
from tests.plain_http import open_plain_sync
from tests.unit.cli.conftest import Run, listed
from tests.unit.client.script_server import Answer, Asked, ScriptServer

pytestmark = pytest.mark.requirement("OPS-6")

COOKIE = {"Set-Cookie": "stolen=1", "Content-Security-Policy": "default-src 'none'", "Content-Type": "text/html"}
OWN = {"Sec-Fetch-Site": "same-origin"}


def lowered(asked: Asked) -> dict[str, str]:
    return {name.lower(): value for name, value in asked.headers.items()}


@pytest.fixture
def page(server: ScriptServer) -> Iterator[LocalPage]:
    server.script = [Answer(200, b"<p>the page</p>", COOKIE)]
    with open_plain_sync(server.url) as gateway:
        page = LocalPage(gateway, lambda: "a-token", "/ui/sessions?namespace=demo")
        serving = threading.Thread(target=page.serve)
        serving.start()
        yield page
        page.close()
        serving.join()


@pytest.fixture
def stranger(page: LocalPage) -> Iterator[httpx2.Client]:
    with open_plain_sync(f"http://{page.name}") as client:
        yield client


@pytest.fixture
def browser(page: LocalPage, stranger: httpx2.Client) -> httpx2.Client:
    """The browser that began; `stranger` is the same client before that."""
    assert 'content="0;url=/ui/sessions?namespace=demo"' in stranger.get(urlsplit(page.address).path).text
    return stranger


def test_the_browser_that_begins_gets_the_page_with_the_users_token(
    server: ScriptServer, browser: httpx2.Client
) -> None:
    answer = browser.get("/ui/sessions", params={"namespace": "demo"}, headers={"X-Part": "1"})
    assert (answer.status_code, answer.text) == (200, "<p>the page</p>")
    assert answer.headers["content-security-policy"] == COOKIE["Content-Security-Policy"]
    asked = server.asked[-1]
    assert asked.path == "/ui/sessions?namespace=demo"
    sent = lowered(asked)
    assert (sent["authorization"], sent["x-part"]) == ("Bearer a-token", "1")


def test_the_cookie_is_for_this_browser_and_this_site_alone(page: LocalPage, stranger: httpx2.Client) -> None:
    cookie = SimpleCookie(stranger.get(urlsplit(page.address).path).headers["set-cookie"])[page.cookie_name]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Strict", "/")
    assert cookie.value not in page.address


def test_nothing_of_cookies_and_tokens_goes_through(server: ScriptServer, browser: httpx2.Client) -> None:
    answer = browser.get("/ui/sessions", headers={"Authorization": "Bearer other", "X-Namespace": "kube-system"})
    assert "set-cookie" not in answer.headers
    sent = lowered(server.asked[-1])
    assert sent["authorization"] == "Bearer a-token"
    assert not {"cookie", "x-namespace", "origin", "referer"} & sent.keys()


@pytest.mark.parametrize("path", ["/ui/sessions", "/", "/begin/", "/begin/wrong", "/api/v1/agent-sessions"])
def test_a_stranger_gets_nothing(server: ScriptServer, stranger: httpx2.Client, path: str) -> None:
    assert stranger.get(path).status_code == 403
    assert server.asked == []


def test_the_address_is_good_once_and_a_second_browser_ends_it_all(page: LocalPage, browser: httpx2.Client) -> None:
    begin = urlsplit(page.address).path
    assert browser.get(begin).status_code == 200, "the same browser may come again"
    with open_plain_sync(f"http://{page.name}") as second:
        assert second.get(begin).status_code == 403
    assert browser.get("/ui/sessions").status_code == 403
    assert "second browser" in page.why_ended


@pytest.mark.parametrize("host", ["evil.example", "localhost:1", "127.0.0.1", ""])
def test_another_name_that_means_this_machine_is_refused(
    server: ScriptServer, browser: httpx2.Client, host: str
) -> None:
    assert browser.get("/ui/sessions", headers={"Host": host}).status_code in {400, 421}
    assert server.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"Sec-Fetch-Site": "cross-site"}, id="a page of another site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, id="a page of another port"),
        pytest.param({"Sec-Fetch-Site": "none"}, id="no page"),
        pytest.param({"Origin": "http://127.0.0.1:1"}, id="an older browser's page of another port"),
        pytest.param({}, id="a browser that says nothing"),
    ],
)
def test_a_change_is_wanted_by_the_page_itself(
    server: ScriptServer, browser: httpx2.Client, headers: dict[str, str]
) -> None:
    assert browser.post("/ui/sessions/demo/hello/pause", headers=headers).status_code == 403
    assert server.asked == []


def test_a_form_of_the_page_is_passed_on(server: ScriptServer, page: LocalPage, browser: httpx2.Client) -> None:
    server.script = [Answer(303, b"", {"Location": "/ui/sessions/demo/hello"})]
    for headers in (OWN, {"Origin": f"http://{page.name}"}):
        answer = browser.post("/ui/sessions/demo/hello/messages", data={"content": "ä & b"}, headers=headers)
        assert (answer.status_code, answer.headers["location"]) == (303, "/ui/sessions/demo/hello")
        asked = server.asked[-1]
        assert (asked.method, asked.body) == ("POST", b"content=%C3%A4+%26+b")
        sent = lowered(asked)
        assert (sent["sec-fetch-site"], sent["content-type"]) == ("same-origin", "application/x-www-form-urlencoded")


def test_only_the_page_is_passed_on(server: ScriptServer, browser: httpx2.Client) -> None:
    for path in ("/api/v1/agent-sessions", "/internal/v1/levels", "/uix", "/"):
        assert browser.get(path).status_code == 404
    assert browser.put("/ui/sessions").status_code == 501
    assert browser.post("/ui/sessions", content=b"x" * (1024 * 1024 + 1), headers=OWN).status_code == 413
    assert server.asked == []


def test_a_gateway_that_is_away_is_said_in_a_sentence(browser: httpx2.Client, page: LocalPage) -> None:
    with open_plain_sync("http://127.0.0.1:1") as page.gateway:
        answer = browser.get("/ui/sessions")
    assert answer.status_code == 502
    assert answer.text.startswith("The gateway does not answer: ")


def test_ui_prints_the_address_and_ends_when_a_stranger_came(server: ScriptServer, run: Run) -> None:
    threads: list[threading.Thread] = []

    def answer(asked: Asked) -> Answer:
        if "limit=1" in asked.path:
            assert asked.headers["Authorization"] == "Bearer a-token"
        return Answer(body=listed())

    def open_twice(address: str) -> bool:
        def come() -> None:
            for _ in range(2):
                httpx2.get(address, trust_env=False)

        threads.append(threading.Thread(target=come))
        threads[-1].start()
        return True

    server.answer = answer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("webbrowser.open", open_twice)
        patch.setenv("DISPLAY", ":0")
        done = run("ui", "--gateway", server.url)
    threads[0].join()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/begin/[\w-]{43}\n", done.stdout)
    assert done.returncode == 1
    assert "a second browser" in done.stderr


def test_ui_says_who_is_not_known_before_a_browser_opens(server: ScriptServer, run: Run) -> None:
    server.answer = lambda asked: Answer(401 if "limit=1" in asked.path else 404, {"kind": "Status", "reason": "x"})
    done = run("ui", "--gateway", server.url, "--no-open")
    assert (done.returncode, done.stdout) == (1, "")
    assert "does not know you" in done.stderr


def test_ui_says_which_port_is_taken(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(body=listed())]
    done = run("ui", "--gateway", server.url, "--port", str(urlsplit(server.url).port))
    assert done.returncode == 2
    assert "cannot be listened on" in done.stderr
