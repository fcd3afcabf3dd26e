"""What is printed: tables, stories, texts of strangers; and what flags mean. Pure parts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from agentsessions.cli import newsession, sessions
from agentsessions.cli.checks import CHECKS
from agentsessions.cli.connection import newness
from agentsessions.cli.deadlines import deadline, to_seconds
from agentsessions.cli.failures import TimeoutFailure, UsageFailure
from agentsessions.cli.live import Meter
from agentsessions.cli.main import load
from agentsessions.cli.phases import to_phase
from agentsessions.cli.story import TELLERS, Story
from agentsessions.cli.table import VERBS
from agentsessions.cli.talking import Answer
from agentsessions.cli.terminal import age, clean, money, one_line, short, to_table
from agentsessions.client.values import Event, SessionItem
from agentsessions.journal.entries import EntryType
from tests.unit.cli.conftest import resource

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize("name", VERBS)
def test_verb_says_what_the_list_of_verbs_says(name: str) -> None:
    assert (load(VERBS[name]).help or "").split("\n")[0] == VERBS[name].summary


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("over\rwritten", "over␍written"),
        ("a\r\nb\tc", "a\nb\tc"),
        ("\u202eevil", "\ufffdevil"),
        ("\x9b2J", "\ufffd2J"),
    ],
    ids=["colour", "window title", "carriage return", "line ends and tabs stay", "right to left", "8-bit escape"],
)
def test_text_of_strangers_cannot_command_the_terminal(text: str, want: str) -> None:
    assert clean(text) == want


def test_markup_of_strangers_is_text() -> None:
    console = Console(width=80, force_terminal=False)
    with console.capture() as capture:
        console.print(to_table(("NAME",), [("[red]x[/red]",), ("a\nb",)]))
    assert [line.strip() for line in capture.get().splitlines()] == ["NAME", "[red]x[/red]", "a b"]


@pytest.mark.parametrize(
    ("span", "want"),
    [
        (timedelta(seconds=7), "7s"),
        (timedelta(seconds=90), "1m30s"),
        (timedelta(minutes=11, seconds=5), "11m"),
        (timedelta(hours=3, minutes=20), "3h20m"),
        (timedelta(days=2, hours=1), "2d1h"),
        (timedelta(days=40), "40d"),
        (timedelta(seconds=-5), "0s"),
    ],
)
def test_spans_are_short(span: timedelta, want: str) -> None:
    assert short(span) == want
    assert age((NOW - span).isoformat(), NOW) == want


def test_money_is_in_dollars() -> None:
    assert [money(None), money(0), money(1_500_000), money(120)] == ["", "", "$1.5", "$0.0001"]


@pytest.mark.parametrize(("text", "want"), [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("0", 0)])
def test_lengths_of_time_are_read(text: str, want: float) -> None:
    assert to_seconds(text) == want


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-1", "1y"])
def test_other_lengths_of_time_are_refused(text: str) -> None:
    with pytest.raises(UsageFailure, match="no length of time"):
        to_seconds(text)


def test_deadline_ends_what_waits_for_nothing() -> None:
    import select  # noqa: PLC0415  # what waits without Python

    with pytest.raises(TimeoutFailure, match="too late"), deadline(0.05, "too late"):
        select.select([], [], [])


def paused_at_limit() -> dict[str, Any]:
    return resource("limit", "Paused", status={"stopReason": "StepLimit"})


def test_list_begins_with_those_that_need_somebody() -> None:
    stalled = resource("stalled", "Starting", status={"conditions": [{"type": "Stalled", "status": "True"}]})
    found = [
        resource("completed", "Completed"),
        resource("running", "Running"),
        resource("paused", "Paused", spec={"operatingMode": "Paused"}),
        resource("failed", "Failed"),
        paused_at_limit(),
        resource("waiting", "Waiting"),
        stalled,
    ]
    names = [one["metadata"]["name"] for one in sessions.needs_somebody_first(found)]
    assert names == ["stalled", "waiting", "limit", "failed", "paused", "running", "completed"]


def test_next_step_of_a_session_at_its_limit_raises_that_limit() -> None:
    assert "limits set limit --max-steps N -n demo" in sessions.next_step(paused_at_limit())


def test_session_without_status_is_pending() -> None:
    cells = [str(cell) for cell in sessions.row(resource(phase=None), is_wide=True, with_namespace=True, now=NOW)]
    assert cells[:7] == ["demo", "hello", "Pending", "", "0", "0", "2h"]


def test_latest_is_the_youngest_and_of_one_second_the_last_written() -> None:
    def meta(name: str, second: int, version: str) -> dict[str, str]:
        return {"name": name, "creationTimestamp": f"2026-11-02T10:00:0{second}Z", "resourceVersion": version}

    found = [meta("old", 1, "99"), meta("first", 2, "9"), meta("second", 2, "10")]
    assert max(found, key=newness)["name"] == "second"


def tell(*events: Event, is_full: bool = False) -> list[str]:
    lines: list[str] = []
    story = Story(lambda text, _: lines.append(text), is_full=is_full)
    for event in events:
        story.tell(event)
    return lines


def event(type_: str, step: int | None = 1, **body: Any) -> Event:
    return Event(type=type_, seq=1, at=NOW, agent="agent", round=1, step=step, body=body)


def test_story_groups_by_step() -> None:
    lines = tell(
        event("step_start"),
        event("tool_call", name="shell", arguments='{"command": "ls"}'),
        event("tool_result", output="a\nb"),
        event("step_complete", durationMilliseconds=1500, inputTokens=3, outputTokens=4),
        event("output", step=2, text="Two files."),
    )
    assert lines == [
        "── step 1 · agent",
        '  calls  shell {"command": "ls"}',
        "  gets   a",
        "         b",
        "  1.5 s, 7 tokens",
        "── step 2 · agent",
        "  says   Two files.",
    ]


def test_story_cuts_long_results_and_says_so() -> None:
    result = event("tool_result", output="\n".join(map(str, range(20))))
    assert tell(result)[-1].strip() == "… 8 more lines (--full shows them)"
    assert len(tell(result, is_full=True)) == 21


def test_story_bears_redacted_entries_and_unknown_types() -> None:
    assert tell(event("output"), event("of_the_future", text="?"), event("tool_call"), event("state", phase="Odd"))


def test_every_type_of_entry_has_its_words() -> None:
    assert set(EntryType) - set(TELLERS) == {EntryType.STEP_START}


def test_answer_in_pieces_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    answer = Answer()
    for offset, piece in ((0, "Hel"), (3, "lo"), (9, "missed")):
        answer.add({"offset": offset, "text": piece})
    answer.end("Hello, world.")
    assert capsys.readouterr().out == "Hello, world.\n"


def test_flags_say_only_what_was_given() -> None:
    assert newsession.build_spec(goal="Go.") == {"goal": "Go."}
    from_template = newsession.build_spec(template="analyst")
    assert from_template == {"templateRef": {"name": "analyst"}}
    assert newsession.build_manifest(None, from_template)["metadata"]["name"].startswith("analyst-")
    spec = newsession.build_spec(goal="Go.", model="m", provider="p", max_steps=3, context_text="c", is_open=True)
    assert spec == {
        "goal": "Go.",
        "context": {"text": "c"},
        "agents": [{"name": "agent", "model": {"name": "m", "providerRef": {"name": "p"}}}],
        "limits": {"maxSteps": 3},
        "conversation": {"open": True},
    }


def test_name_follows_from_the_goal_and_fits() -> None:
    name = newsession.build_manifest(None, {"goal": "Größte Verluste finden! " * 9})["metadata"]["name"]
    assert name.startswith("gr-te-verluste-finden")
    assert len(name) <= 52
    assert newsession.build_manifest("mine", {"goal": "x"})["metadata"]["name"] == "mine"


def test_phases_are_found_in_whatever_case() -> None:
    assert to_phase("completed") == "Completed"
    with pytest.raises(UsageFailure, match="'done' is no phase: write one of Pending"):
        to_phase("done")


def item(tokens: int, phase: str = "Running", uid: str = "u") -> SessionItem:
    return SessionItem(
        uid=uid, namespace="demo", name=uid, type="Custom", mode="m", role="r", goal="g", phase=phase, created_at=NOW,
        steps=1, total_tokens=tokens, cost_micro_usd=5,
    )  # fmt: skip


def test_meter_tells_tokens_per_second_from_one_look_to_the_next() -> None:
    meter = Meter()
    assert meter.look([item(100)], now=10.0).tokens_per_second == 0
    frame = meter.look([item(160), item(0, "Queued", "q")], now=12.0)
    assert (frame.tokens_per_second, frame.active, frame.queued, frame.cost_micro_usd) == (30, 1, 1, 10)
    assert [row.session.uid for row in frame.rows] == ["u", "q"]


def test_checks_have_titles_of_their_own() -> None:
    assert len({title for title, _ in CHECKS}) == len(CHECKS)


def test_one_line_is_one_line() -> None:
    assert one_line("a\n\tb\x1b") == "a b␛"
