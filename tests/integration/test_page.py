"""The page in a real browser, beside a real API server: read, watched live, used, with and without scripts."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.hostile_text import HOSTILE
from tests.integration.crds_cluster import ROOT, Kubectl, a_provider, an_approval
from tests.integration.gateway_process import (
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    grant,
    mint,
    mint_for_pod,
    write_status,
)
from tests.integration.page_stage import Visitor, a_browser, a_past, a_visitor, full_of, many_steps, write_sessions
from tests.integration.runner_process import RunnerProcess

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.requirement("OPS-6")]

READS = "agentsessions,agentsessions/messages,agentsessions/events"
STEPS = 2500
LONG = "aaaaaaaa-0000-4000-8000-000000000001"
SCRIPT = {
    "rules": [
        {
            "when": {"step": 1},
            "answer": {"text": "I look.", "toolCalls": [{"name": "shell", "arguments": {"command": "echo a-file"}}]},
        },
        {"when": {"step": 2}, "answer": {"text": "There is **one** file."}},
        {"when": {"text": "slowly"}, "answer": {"text": "word by word " * 30, "streamMilliseconds": 4000}},
        {"answer": {"text": "You said: ${text}"}},
    ]
}
SERIOUS = {"serious", "critical"}


@dataclass(frozen=True)
class Stage:
    """A gateway whose journal has a past, and a namespace with people."""

    gateway: GatewayProcess
    home: Kubectl
    browser: Browser
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.gateway.port}"

    def path(self, session: str = "") -> str:
        return (
            f"/ui/sessions/{self.home.namespace}/{session}"
            if session
            else f"/ui/sessions?namespace={self.home.namespace}"
        )

    def spec(self, name: str) -> dict[str, object]:
        found = json.loads(self.home("get", "agentsession", name, "-o", "json"))
        spec: dict[str, object] = found["spec"]
        return spec

    def running(self, name: str) -> str:
        """Create a session that runs, and that the gateway knows; return its path."""
        create_session(self.home, name, goal="List the files.", conversation={"open": True})
        write_status(self.home, name, "Running", conditions=[])
        with self.gateway.client(self.tokens["alice"], namespace=self.home.namespace) as alice:
            path = f"/api/v1/agent-sessions/{name}"
            eventually(lambda: alice.get(path).json().get("phase") == "Running", f"{name} is known")
        return self.path(name)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with a_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def stage(cluster: Kubectl, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with a_namespace(cluster, "page-home") as home, a_namespace(cluster, "page-install") as install:
        for account in ("alice", "viewer", "stranger", "runner"):
            create_account(home, account)
        grant(home, "alice", "get,list,patch,create,send", f"{READS},agentsessions/import")
        grant(home, "alice", "get,patch,approve", "sessionapprovals")
        grant(home, "viewer", "get,list", READS)
        home("create", "-f", "-", manifest=a_provider("default", type="Scripted", script=SCRIPT))
        tokens = {name: mint(home, name) for name in ("alice", "viewer", "stranger")}
        gateway = GatewayProcess(install, tmp_path_factory.mktemp("gateway"))
        create_account(install, "agentsessions-operator")
        write_past(gateway.folder, home)
        gateway.start()
        stage = Stage(gateway, home, browser, tokens)
        try:
            with gateway.client(tokens["alice"], namespace=home.namespace) as alice:
                eventually(lambda: alice.get("/api/v1/agent-sessions").is_success, "the bindings are known")
            yield stage
        finally:
            gateway.kill()


def write_past(folder: Path, home: Kubectl) -> None:
    """Write a very long session, and one for each hostile text, before the gateway starts."""
    uid = home("get", "namespace", home.namespace, "-o", "jsonpath={.metadata.uid}")
    stories = [(a_past(LONG, home.namespace, uid, name="long", title="Very long"), many_steps(STEPS))]
    for number, text in enumerate(HOSTILE):
        row = a_past(
            hostile(number), home.namespace, uid, name=f"h{number}", title=text, goal=text, message=text, reason=text
        )
        stories.append((row, full_of(text)))
    write_sessions(folder, stories)


def hostile(number: int) -> str:
    return f"bbbbbbbb-0000-4000-8000-{number:012}"


@pytest.fixture
def alice(stage: Stage) -> Iterator[Visitor]:
    with a_visitor(stage.browser, stage.url, stage.tokens["alice"]) as visitor:
        yield visitor
        assert visitor.strange == []


def mark(page: Page) -> None:
    """Leave a mark that a page which is loaded anew has not."""
    page.evaluate("window.mark = 'same page'")


def is_marked(page: Page) -> bool:
    return bool(page.evaluate("window.mark === 'same page'"))


def axe(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in SERIOUS]


def test_a_session_is_watched_while_it_runs_and_answers(stage: Stage, alice: Visitor, tmp_path: Path) -> None:
    path = stage.running("live")
    uid, token = mint_for_pod(stage.home, "runner", "live-pod")
    page = alice.open(path)
    expect(page.locator("[data-phase]")).to_have_text("Running")
    expect(page.locator("[data-live-state]")).to_have_text("live")
    mark(page)
    row = {"name": "agent", "state": "Running", "epoch": 1, "podUID": uid}
    write_status(stage.home, "live", "Running", agents=[row])
    ca = tmp_path / "ca.crt"
    ca.write_text(stage.gateway.ca())
    runner = RunnerProcess(tmp_path, ca, token=token)
    with subprocess.Popen(runner.command(stage.url), cwd=ROOT, env=runner.environment()) as process:
        try:
            expect(page.locator(".step")).to_have_count(2, timeout=60_000)
            expect(page.locator(".tool summary").first).to_contain_text("shell")
            expect(page.locator(".answer strong")).to_have_text("one")
            page.get_by_label("Message").fill("hello there")
            page.get_by_label("Message").press("Enter")
            expect(page.locator(".answer").last).to_have_text("You said: hello there", timeout=60_000)
            expect(page.locator(".by-user").last).to_contain_text("hello there")
            expect(page.locator(".queued")).to_have_count(0)
            page.get_by_label("Message").fill("Now slowly, please.")
            page.get_by_role("button", name="Send").click()
            expect(page.locator(".open [data-written]")).to_contain_text("word by word")
            expect(page.locator(".answer")).to_have_count(3, timeout=60_000)
            expect(page.locator("[data-written]")).to_have_count(0)
        finally:
            process.kill()
    assert is_marked(page), "the page was never loaded again"
    page.get_by_role("link", name="Conversation").click()
    expect(page.locator(".timeline > li")).to_have_count(6)
    expect(page.locator(".tool")).to_have_count(0)


def test_buttons_pause_resume_and_cancel(stage: Stage, alice: Visitor) -> None:
    page = alice.open(stage.running("steered"))
    mark(page)
    page.get_by_role("button", name="Pause").click()
    eventually(lambda: stage.spec("steered")["operatingMode"] == "Paused", "the resource is to be paused")
    write_status(stage.home, "steered", "Paused", stopReason="UserPaused")
    expect(page.locator("[data-phase]")).to_have_text("Paused")
    page.get_by_role("button", name="Resume").click()
    eventually(lambda: stage.spec("steered")["operatingMode"] == "Running", "the resource is to run")
    write_status(stage.home, "steered", "Starting")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_text("Cancel…").click()
    page.get_by_label("Reason").fill("no longer needed")
    page.get_by_role("button", name="Cancel the session").click()
    eventually(lambda: stage.spec("steered")["operatingMode"] == "Cancelled", "the resource is to be cancelled")
    assert stage.spec("steered")["shutdown"] == {"reason": "no longer needed"}
    expect(page.locator(".acts")).to_have_count(0)
    assert is_marked(page), "the page was never loaded again"


def ask(home: Kubectl, session: str, name: str, **request: object) -> None:
    """Ask about a call, as the operator does."""
    uid = home("get", "agentsession", session, "-o", "jsonpath={.metadata.uid}")
    asked = an_approval(name, **request)
    owner = {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentSession", "name": session, "uid": uid}
    asked["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    asked["spec"]["session"] = session
    home("create", "-f", "-", manifest=asked)


@pytest.mark.requirement("POL-2")
def test_a_call_that_waits_is_shown_and_answered(stage: Stage, alice: Visitor) -> None:
    path = stage.running("asked")
    ask(stage.home, "asked", "may-i", arguments='{"command": "rm <b>all</b>"}')
    ask(stage.home, "asked", "did-i", kind="Doubt", callId="call_2", tool="pay", argumentsTruncated=True)
    write_status(stage.home, "asked", "Waiting")
    page = alice.open(path)
    calls = page.get_by_label("Calls that wait for a person")
    expect(calls.locator("article")).to_have_count(2)
    expect(calls).to_contain_text("rm <b>all</b>")
    expect(calls.get_by_text("This is only their beginning")).to_have_count(1)
    calls.get_by_label("Reason").fill("too dear")
    calls.get_by_role("button", name="Deny").click()

    def said(name: str) -> list[object]:
        found = json.loads(stage.home("get", "sessionapproval", name, "-o", "json"))["spec"]
        return list(found.get("decisions", {}).values())

    eventually(lambda: said("may-i") == [{"answer": "Deny", "reason": "too dear"}], "the call is denied")
    calls.get_by_label("It happened, with this result").fill("paid 3")
    calls.get_by_role("button", name="It happened").click()
    eventually(lambda: said("did-i") == [{"answer": "Happened", "output": "paid 3"}], "the call is told of")
    with a_visitor(stage.browser, stage.url, stage.tokens["viewer"]) as viewer:
        told = viewer.open(path)
        expect(told.get_by_role("button", name="Deny")).to_be_disabled()
        expect(told.locator(".asked .why-not")).to_contain_text("may not approve sessionapprovals")


def test_a_page_comes_back_after_the_gateway_did(stage: Stage, alice: Visitor) -> None:
    page = alice.open(stage.running("outlives"))
    expect(page.locator("[data-live-state]")).to_have_text("live")
    mark(page)
    stage.gateway.stop()
    expect(page.locator("[data-live-state]")).to_have_text("reconnecting…")
    stage.gateway.start()
    write_status(stage.home, "outlives", "Idle")
    expect(page.locator("[data-phase]")).to_have_text("Idle", timeout=60_000)
    expect(page.locator("[data-live-state]")).to_have_text("live", timeout=60_000)
    assert is_marked(page), "the page was never loaded again"


def test_everything_can_be_done_without_scripts(stage: Stage) -> None:
    path = stage.running("plain")
    with a_visitor(stage.browser, stage.url, stage.tokens["alice"], java_script_enabled=False) as visitor:
        page = visitor.open(stage.path())
        page.get_by_role("link", name="plain").click()
        page.get_by_label("Message").fill("a <b>word</b>")
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".queued")).to_contain_text("a <b>word</b>")
        page.get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        page.goto(f"{path}?at=1")
        expect(page.locator(".replaying")).to_contain_text("as it was at entry 1")
    assert stage.spec("plain")["operatingMode"] == "Paused"


def test_the_slider_shows_a_session_as_it_was(stage: Stage, alice: Visitor) -> None:
    page = alice.open(stage.path(LONG))
    expect(page.locator(".gauges dd").first).to_contain_text(f"{STEPS:,}")
    slider = page.get_by_label("Replay")
    slider.evaluate("slider => { slider.value = 400; slider.dispatchEvent(new Event('change')); }")
    expect(page.locator(".replaying")).to_contain_text("as it was at entry 400")
    expect(page.locator(".gauges dd").first).to_have_text(re.compile("^99"))
    expect(page.locator(".timeline > li").last).to_have_attribute("data-seq", "400")
    assert page.url.endswith("?at=400")
    page.get_by_label("Replay").press("ArrowLeft")
    expect(page.locator(".replaying")).to_contain_text("as it was at entry 399")
    page.get_by_role("link", name="now", exact=True).click()
    expect(page.locator(".replaying")).to_have_count(0)
    page.goto(f"{stage.path(LONG)}?at=10")
    page.get_by_label("Replay").press("End")
    expect(page.locator(".replaying")).to_have_count(0)
    assert "at=" not in page.url


def test_a_long_session_begins_at_its_end_and_goes_back(stage: Stage, alice: Visitor) -> None:
    page = alice.open(stage.path(LONG))
    shown = page.locator(".timeline > li")
    assert shown.count() < 310
    expect(page.locator("#step-1-agent-2500")).to_be_attached()
    before = shown.count()
    page.get_by_role("link", name="Older entries").click()
    expect(page.locator("#step-1-agent-2400")).to_be_attached()
    assert shown.count() > before
    numbers = [int(one) for one in shown.evaluate_all("all => all.map((one) => one.dataset.step).filter(Boolean)")]
    assert numbers == sorted(numbers)


def test_the_list_shows_first_what_needs_somebody_and_filters_by_address(stage: Stage, alice: Visitor) -> None:
    stage.running("waits")
    write_status(stage.home, "waits", "Paused", stopReason="StepLimit", effective={"maxSteps": 10})
    page = alice.open(stage.path())
    needed = page.locator(".needed")
    expect(needed).to_contain_text("waits", timeout=20_000)
    expect(needed).to_contain_text("StepLimit")
    page.get_by_role("link", name="waits").first.click()
    page.get_by_label("Raise maxSteps").fill("30")
    page.get_by_role("button", name="Let it go on").click()
    eventually(lambda: stage.spec("waits").get("limits") == {"maxSteps": 30}, "the limit is raised")
    page.goto(stage.path())
    page.get_by_label("Phase").select_option("Completed")
    page.wait_for_url(re.compile("phase=Completed"))
    expect(page.locator(".needed")).to_have_count(0)
    page.get_by_label("with deleted").check()
    page.wait_for_url(re.compile("deleted=1"))
    page.get_by_label("Text").fill("very long")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="long").click()
    expect(page.get_by_role("heading", name="Very long")).to_be_visible()


def test_two_sessions_are_laid_side_by_side(stage: Stage, alice: Visitor) -> None:
    page = alice.open(stage.path(hostile(0)))
    page.get_by_text("More", exact=True).click()
    page.get_by_label("Compare with").fill("h1")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", name="h0 and h1")).to_be_visible()
    expect(page.locator("tr.onlyLeft, tr.changed")).not_to_have_count(0)


def test_whoever_may_not_is_told_why(stage: Stage) -> None:
    path = stage.running("private")
    with a_visitor(stage.browser, stage.url) as nobody:
        page = nobody.context.new_page()
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 401
        expect(page.get_by_label("Bearer token")).to_be_visible()
        page.get_by_label("Bearer token").fill("not-a-token")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("main")).to_contain_text("401 unauthenticated")
        page.get_by_label("Bearer token").fill(stage.tokens["viewer"])
        page.get_by_role("button", name="Sign in").click()
        page.goto(path)
        expect(page.get_by_role("button", name="Pause")).to_be_disabled()
        expect(page.locator("#why-not")).to_contain_text("may not patch agentsessions.agentsessions.dev 'private'")
        expect(page.get_by_role("button", name="Send")).to_be_disabled()
        page.locator("[data-act]").first.evaluate("form => form.requestSubmit()")
        expect(page.get_by_role("alert")).to_contain_text("403 forbidden")
    assert stage.spec("private").get("operatingMode", "Running") == "Running"
    with a_visitor(stage.browser, stage.url) as stranger:
        stranger.context.set_extra_http_headers({"Authorization": f"Bearer {stage.tokens['stranger']}"})
        page = stranger.context.new_page()
        answer = page.goto(path)
        assert answer is not None
        assert answer.status == 403
        expect(page.locator("main")).to_contain_text("verb 'get' on resource 'agentsessions'")


def test_another_sites_page_changes_nothing(stage: Stage) -> None:
    path = stage.running("guarded")
    with a_visitor(stage.browser, stage.url, stage.tokens["alice"]) as visitor:
        page = visitor.context.new_page()
        form = f"<form method=post action='{stage.url}{path}/pause'><button>go</button></form>"
        page.route("https://evil.example/", lambda route: route.fulfill(content_type="text/html", body=form))
        page.goto("https://evil.example/")
        with page.expect_response(lambda response: response.url.endswith("/pause")) as response:
            page.get_by_role("button").click()
        assert response.value.status == 403
    assert stage.spec("guarded").get("operatingMode", "Running") == "Running"


def test_a_link_on_another_sites_page_leads_to_the_page(stage: Stage, alice: Visitor) -> None:
    page = alice.context.new_page()
    link = f"<a href='{stage.url}{stage.path(LONG)}'>look at this</a>"
    page.route("https://chat.example/", lambda route: route.fulfill(content_type="text/html", body=link))
    page.goto("https://chat.example/")
    page.get_by_role("link").click()
    expect(page.get_by_role("heading", name="Very long")).to_be_visible()
    alice.strange.remove("request: https://chat.example/")


def test_a_sign_out_forgets_the_token(stage: Stage, alice: Visitor) -> None:
    cookies = {one.get("name"): one for one in alice.context.cookies()}
    cookie = cookies["__Host-agentsessions"]
    assert (cookie.get("httpOnly"), cookie.get("secure"), cookie.get("sameSite")) == (True, True, "Strict")
    page = alice.open(stage.path())
    assert page.request.get(f"{stage.url}/ui/sessions/{stage.home.namespace}/{LONG}/json").ok
    assert page.request.get(f"{stage.url}/api/v1/agent-sessions").status == 401, "the API takes no cookie"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert alice.context.cookies() == []


@pytest.mark.timeout(600)
def test_hostile_text_runs_nothing_and_loads_nothing(stage: Stage, alice: Visitor) -> None:
    assert len(HOSTILE) >= 50
    page = alice.context.new_page()
    for number, text in enumerate(HOSTILE):
        alice.look_at(page, stage.path(hostile(number)))
        expect(page.locator(".step")).to_have_count(3)
        assert text.strip()[:4] in page.locator("main").inner_text() or "\u2028" in text, text
        page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
        alice.look_at(page, f"{stage.path(hostile(number))}?view=conversation")
    for offset in (0, 50):
        alice.look_at(page, f"{stage.path()}&deleted=1&offset={offset}")
    alice.look_at(
        page, f"/ui/compare?left={stage.home.namespace}/{hostile(0)}&right={stage.home.namespace}/{hostile(20)}"
    )
    assert alice.strange == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(stage: Stage, scheme: str) -> None:
    path = stage.path(hostile(0))
    with a_visitor(stage.browser, stage.url, stage.tokens["alice"], color_scheme=scheme) as visitor:
        for place in (
            stage.path(),
            f"{stage.path()}&deleted=1",
            path,
            f"{path}?view=conversation",
            f"{path}?at=3",
            "/ui/signin",
        ):
            assert axe(visitor.open(place)) == [], place


def test_a_message_sent_twice_is_said_once(stage: Stage, alice: Visitor) -> None:
    page = alice.open(stage.running("twice"))
    key = page.locator("[data-composer] [name=key]").get_attribute("value")
    for _ in range(2):
        sent = page.request.post(
            f"{stage.path('twice')}/messages",
            form={"content": "once", "key": str(key)},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        assert sent.ok
    page.reload()
    expect(page.locator(".queued li")).to_have_count(1)
