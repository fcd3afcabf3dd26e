"""The page's parts: hostile text, the timeline, a session as it was, who may ask for a change."""

import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.approval import OnExpiry, SessionApprovalStatus
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.v1alpha1.status import EffectiveLimits
from agentsessions.api.wire import Outcome
from agentsessions.gateway.auth import User
from agentsessions.gateway.pages import summary
from agentsessions.gateway.pages.chart import HEIGHT, MOST_POINTS, draw
from agentsessions.gateway.pages.lists import home_of
from agentsessions.gateway.pages.markup import MOST_CHARACTERS, TAGS, to_html
from agentsessions.gateway.pages.render import TEMPLATES
from agentsessions.gateway.pages.signin import is_ours, require_own_page
from agentsessions.gateway.pages.timeline import Note, Step, build_timeline, is_said, lanes_of, to_words
from agentsessions.gateway.problems import ProblemError
from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.rows import Course
from agentsessions.journal.store import Store
from agentsessions.journal.tail import Look, look
from tests.hostile_text import HOSTILE
from tests.journal.builders import T0, Player, a_player, a_session, an_answer, call_ids
from tests.unit.lifecycle.test_approvals import a_request, a_view

pytestmark = pytest.mark.requirement("OPS-6")

OPEN = Course(is_open=True)
LINK = {"href", "rel"}
ALL = 10**9


class Parsed(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def refuse_anything_live(html: str) -> None:
    for tag, attributes in Parsed(html).tags:
        assert tag in TAGS, html
        assert attributes.keys() <= (LINK if tag == "a" else {"start"}), html
        if "href" in attributes:
            assert re.match("(https?|mailto):", attributes["href"] or ""), html
            assert attributes["rel"] == "noopener noreferrer nofollow", html


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_is_text(text: str) -> None:
    refuse_anything_live(to_html(text))


@given(
    st.text()
    | st.lists(st.sampled_from(["<", ">", "](", "![", "`", '"', "javascript:", "<a href=", "\n", "|"])).map("".join)
)
def test_no_text_becomes_live(text: str) -> None:
    refuse_anything_live(to_html(text))


def test_markdown_is_rendered_and_a_very_long_text_is_not() -> None:
    assert to_html("**a** [b](https://c.example)") == (
        '<p><strong>a</strong> <a href="https://c.example" rel="noopener noreferrer nofollow">b</a></p>\n'
    )
    assert to_html("*" * (MOST_CHARACTERS + 1)).startswith("<pre>*")


def test_templates_have_no_script_style_or_handler_inline() -> None:
    for path in TEMPLATES.iterdir():
        found = re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son[a-z]+=|\|\s*safe\b", path.read_text())
        assert found is None, path.name


async def a_story(store: Store) -> Player:
    """Play a turn with two tools, one that fails, and a final answer; then say something more."""
    player = await a_player(store, spec={"goal": "say hello", "conversation": {"open": True}})
    turn = await store.pin_turn(player.pod, OPEN)
    answer = await player.ask(an_answer("I look first.", "shell", "shell"), "d0")
    for call in call_ids(answer):
        await player.begin(call)
        await player.report(call, f"output of {call}")
    await player.commit(turn.k, Outcome.CONTINUE, OPEN)
    await player.answer("**Hello**", OPEN)
    await player.say("And then?")
    return player


async def seen(store: Store, until: int, before: int = ALL, limit: int = 300) -> Look:
    return await store.read(look, "s1", until, before, limit)


async def test_the_timeline_groups_what_happened_by_step(store: Store) -> None:
    await a_story(store)
    blocks = build_timeline((await seen(store, ALL)).entries)
    steps = [one for one in blocks if isinstance(one, Step)]
    assert [one.id for one in steps] == ["step-1-agent-1", "step-1-agent-2"]
    assert [(tool.name, tool.output) for tool in steps[0].tools] == [
        ("shell", f"output of {tool.call_id}") for tool in steps[0].tools
    ]
    assert (steps[0].thinking, steps[1].output) == (["I look first."], "**Hello**")
    assert not any(one.is_open for one in steps)
    said = [one for one in blocks if is_said(one)]
    assert [one.text if isinstance(one, Note) else one.output for one in said] == ["say hello", "**Hello**"]


def an_entry(type_: EntryType, **body: Any) -> EntryRow:
    place = {"agent": "agent", "epoch": 1, "round": 1, "step": 2, "index": 0}
    hashes = {"body_digest": "", "previous_hash": "", "hash": ""}
    return EntryRow(session_uid="s1", seq=7, type=type_, at=T0, body=body, **place, **hashes)  # type: ignore[arg-type]


@pytest.mark.requirement("POL-2")
@pytest.mark.parametrize(
    ("entry", "title", "text"),
    [
        pytest.param(
            an_entry(EntryType.POLICY_DECISION, policy="p", action="Deny", name="shell", rule="r", message="no"),
            "policy p: Deny",
            "shell, rule r: no",
            id="a rule",
        ),
        pytest.param(
            an_entry(EntryType.APPROVAL, outcome="Pending", message="may it?"),
            "waits for a person",
            "may it?",
            id="a question",
        ),
        pytest.param(
            an_entry(EntryType.APPROVAL, outcome="Denied", by=["amy", "bob"], reason="too dear"),
            "Denied by amy, bob",
            "too dear",
            id="an answer",
        ),
        pytest.param(
            an_entry(EntryType.APPROVAL, outcome="Denied", by=[]), "Denied by nobody in time", "", id="no answer"
        ),
        pytest.param(
            an_entry(EntryType.SOURCE, name="other", steps=3), "made from other", "3 steps of it", id="a source"
        ),
        pytest.param(
            replace(an_entry(EntryType.MESSAGE, role="user", content="what I found"), agent="writer"),
            "to writer",
            "what I found",
            id="one agent's work for the next",
        ),
        pytest.param(
            replace(an_entry(EntryType.MESSAGE, role="user", content="hello", actor="amy"), agent="writer"),
            "user",
            "hello",
            id="what a person says",
        ),
        pytest.param(an_entry(EntryType.DIFFERENCE, text="step 2"), "differs", "step 2", id="a difference"),
        pytest.param(an_entry(EntryType.REPLAY_COMPLETE, text="all"), "replay complete", "all", id="a replay's end"),
    ],
)
def test_rules_people_and_other_sessions_have_a_note_each(entry: EntryRow, title: str, text: str) -> None:
    (note,) = build_timeline([entry])
    assert isinstance(note, Note)
    assert (note.title, note.text) == (title, text)


def test_the_page_listens_to_every_kind_of_entry() -> None:
    (names,) = re.findall(r"const EVENTS = \[(.*?)\]", (TEMPLATES.parent / "static" / "app.js").read_text(), re.DOTALL)
    assert set(re.findall(r'"(\w+)"', names)) - {"gap"} == {type_.value for type_ in EntryType}


async def test_a_session_at_an_entry_follows_from_the_entries_before_alone(store: Store) -> None:
    player = await a_story(store)
    head = len(await player.types())
    for until in range(head + 1):
        then = await seen(store, until)
        assert [entry.seq for entry in then.entries] == list(range(1, until + 1))
        complete = [entry for entry in then.entries if entry.type is EntryType.STEP_COMPLETE]
        calls = [entry for entry in then.entries if entry.type is EntryType.TOOL_CALL]
        assert (len(then.standing.steps), then.standing.tool_calls) == (len(complete), len(calls))
        assert then.standing.tokens == 110 * len(complete)
    now = await store.get_session_by_uid("s1")
    assert now is not None
    assert (len(then.standing.steps), then.standing.tool_calls) == (now.usage.steps, now.usage.tool_calls)
    assert [one.content for one in then.queued] == ["And then?"]
    # More happens, and the past stays what it was.
    before = await seen(store, 5)
    await player.answer("More.", OPEN)
    assert replace(await seen(store, 5), queued=()) == replace(before, queued=())


async def test_a_look_shows_the_last_entries_before_a_place(store: Store) -> None:
    await a_story(store)
    assert [entry.seq for entry in (await seen(store, ALL, before=7, limit=3)).entries] == [4, 5, 6]
    assert [entry.seq for entry in (await seen(store, 5, before=9, limit=2)).entries] == [4, 5]


async def test_a_run_that_begins_within_a_step_shows_what_it_has(store: Store) -> None:
    await a_story(store)
    entries = [one for one in (await seen(store, ALL)).entries if one.type is EntryType.TOOL_RESULT]
    (step,) = build_timeline(entries)
    assert isinstance(step, Step)
    assert [tool.output is not None for tool in step.tools] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        ('{"command": "echo a\\necho b"}', "echo a\necho b"),
        ('{"operation": "list", "depth": 2}', "operation: list\ndepth: 2"),
        ("{}", "{}"),
        ("[1]", "[1]"),
        ("no JSON", "no JSON"),
    ],
)
def test_arguments_are_shown_as_they_are_typed(arguments: str, want: str) -> None:
    assert to_words(arguments) == want


def test_agents_have_lanes_in_the_order_of_the_spec() -> None:
    assert lanes_of(["planner", "writer"], []) == {"planner": 0, "writer": 1}


def test_a_chart_is_a_rising_line_below_its_limit_with_few_points() -> None:
    chart = draw([10] * 5000, 60_000)
    assert chart is not None
    points = [tuple(map(float, point.split(","))) for point in chart.points.split()]
    assert len(points) <= MOST_POINTS + 20
    assert points == sorted(points, key=lambda point: (point[0], -point[1]))
    assert (points[0][1], points[-1][1], chart.limit_y) == (HEIGHT, 15.0, 0.0)
    assert draw([10], None) is None
    far = draw([10, 10], 1000)
    assert far is not None
    assert far.limit_y is None, "a limit far away would make the line flat"


@pytest.mark.parametrize(
    ("changes", "want"),
    [
        pytest.param({"phase": Phase.RUNNING}, ["pause", "cancel"], id="running"),
        pytest.param(
            {"phase": Phase.PAUSED, "operating_mode": OperatingMode.PAUSED}, ["resume", "cancel"], id="paused"
        ),
        pytest.param({"phase": Phase.PAUSED}, ["cancel"], id="stopped by a limit"),
        pytest.param({"operating_mode": OperatingMode.CANCELLED}, [], id="being cancelled"),
        pytest.param({"phase": Phase.FAILED}, [], id="over"),
        pytest.param({"deleted_at": T0}, [], id="deleted"),
    ],
)
def test_buttons_are_what_is_possible(changes: dict[str, Any], want: list[str]) -> None:
    assert [act.value for act in summary.to_acts(a_session(**changes))] == want


def test_who_was_stopped_by_a_limit_is_offered_a_higher_one() -> None:
    limits = EffectiveLimits(max_tokens=500)
    row = a_session(phase=Phase.PAUSED, stop_reason=StopReason.TOKEN_LIMIT, name="a b;rm", limits=limits)
    assert summary.to_raise(row) == summary.Raise("maxTokens", 500, 1000)
    assert "kubectl get ags 'a b;rm' -n default -o yaml" in summary.to_commands(row)
    assert summary.to_raise(replace(row, stop_reason=StopReason.USER_PAUSED)) is None
    assert summary.advice(a_session(phase=Phase.RUNNING)) == ""


@pytest.mark.requirement("POL-2")
def test_a_call_tells_how_it_is_decided() -> None:
    assert summary.to_terms(a_view(a_request())) == []
    rule = {"policy": "press", "rule": "publishing", "quorum": 2, "barred": "system:serviceaccount:demo:amy"}
    asked = a_request(**rule, expires_at=T0, on_expiry=OnExpiry.DENY)
    view = replace(a_view(asked), status=SessionApprovalStatus(approvals=1))
    assert summary.to_terms(view) == [
        "rule publishing of AgentPolicy press",
        "1 of 2 people approved",
        "not by its owner, demo/amy",
        f"until {T0:%Y-%m-%d} 12:00:00 UTC, then Deny",
    ]


def test_gauges_are_near_at_nine_tenths() -> None:
    spent = summary.Standing(steps=(), tool_calls=9)
    (gauge,) = [one for one in summary.to_gauges(spent, EffectiveLimits(max_tool_calls=10)) if one.used]
    assert (gauge.text, gauge.is_near) == ("9 of 10", True)


def test_ages_and_amounts_are_short() -> None:
    assert [summary.to_age(T0, T0 + timedelta(seconds=span)) for span in (-5, 90, 3000, 9000, 300_000)] == [
        "0s", "90s", "50m", "2h", "3d",
    ]  # fmt: skip
    assert [summary.to_money(amount) for amount in (0, 1234, 2_500_000)] == ["$0.00", "$0.0012", "$2.50"]


@pytest.mark.parametrize(
    "path", ["//evil.example/ui/", "https://evil.example/ui/", "/ui/\\evil", "/other", "/ui/\nx", ""]
)
def test_a_sign_in_leads_to_a_page_of_ours_alone(path: str) -> None:
    assert not is_ours(path)
    assert is_ours("/ui/sessions?namespace=demo")


def asked(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/ui/x", "headers": raw, "query_string": b""})


async def test_a_change_is_wanted_by_a_page_of_ours() -> None:
    await require_own_page(asked(sec_fetch_site="same-origin", host="a"))
    await require_own_page(asked(origin="https://a:1", host="a:1"))
    for headers in (
        {"sec_fetch_site": "cross-site", "origin": "https://a", "host": "a"},
        {"sec_fetch_site": "none", "host": "a"},
        {"origin": "https://b", "host": "a"},
        {"origin": "null", "host": "a"},
        {"host": "a"},
        {},
    ):
        with pytest.raises(ProblemError, match="another page than ours"):
            await require_own_page(asked(**headers))


@pytest.mark.parametrize(
    ("name", "shown", "home"),
    [
        ("system:serviceaccount:demo:reader", "demo/reader", "demo"),
        ("alice@example.com", "alice@example.com", "default"),
        ("system:admin", "system:admin", "default"),
    ],
    ids=["a service account", "a person", "another of the system's users"],
)
def test_list_begins_in_the_namespace_of_an_account(name: str, shown: str, home: str) -> None:
    assert (summary.to_person(name), home_of(User(name))) == (shown, home)
