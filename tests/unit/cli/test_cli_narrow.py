"""Tables on terminals of any width: nothing becomes unreadable, and the first columns are always there."""

from __future__ import annotations

import re

import pytest

from agentsessions.cli.columns import ALWAYS, GAP, LEAST_TEXT, Column, fit
from agentsessions.cli.newsession import SLUG, name_from
from agentsessions.cli.terminal import count
from tests.unit.cli.conftest import Run, listed, resource
from tests.unit.client.script_server import Answer, ScriptServer

NAMES = ("NAME", "PHASE", "REASON", "STEPS", "TOKENS", "TEXT", "AGE")
WIDTHS = (20, 10, 16, 5, 6, 80, 5)


def length(columns: list[Column]) -> int:
    return sum(one.width for one in columns) + GAP * (len(columns) - 1)


def test_wide_terminal_has_room_for_all() -> None:
    assert [one.width for one in fit(NAMES, WIDTHS, 400)] == list(WIDTHS)


def test_texts_are_cut_before_a_column_goes() -> None:
    columns = fit(NAMES, WIDTHS, 120)
    assert len(columns) == len(NAMES)
    assert (length(columns), columns[5].width) == (120, 40)


def test_columns_go_from_the_right_and_texts_stay() -> None:
    columns = fit(NAMES, WIDTHS, 75)
    assert [NAMES[one.place] for one in columns] == ["NAME", "PHASE", "REASON", "TEXT"]
    assert length(columns) <= 75


@pytest.mark.parametrize("room", range(1, 200, 7))
def test_what_is_shown_is_never_cut_but_texts(room: int) -> None:
    columns = fit(NAMES, WIDTHS, room)
    assert [one.place for one in columns][:ALWAYS] == [0, 1, 2]
    for one in columns:
        assert one.width == WIDTHS[one.place] or (NAMES[one.place] == "TEXT" and one.width >= LEAST_TEXT)


def test_name_ends_with_a_word() -> None:
    name = name_from("List the files of the workspace, all of them")
    assert re.fullmatch(r"list-the-files-of-the-[0-9a-f]{6}", name)
    assert len(name_from("x" * 200)) == SLUG + 7
    assert name_from("?!").startswith("session-")


def test_one_is_no_plural() -> None:
    assert [count(0, "step"), count(1, "step"), count(2, "step")] == ["0 steps", "1 step", "2 steps"]


def test_latest_of_a_list_that_the_server_sends_as_null_is_told(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(body={"items": None, "metadata": {"resourceVersion": "1"}})]
    assert run("get", "@latest").stderr.startswith("error: namespace 'demo' has no session")


def test_empty_list_says_that_the_namespace_is_not_there(server: ScriptServer, run: Run) -> None:
    missing = Answer(404, {"kind": "Status", "reason": "NotFound", "message": 'namespaces "demo" not found'})
    server.script = [Answer(body=listed()), missing]
    assert "there is no namespace demo" in run("list").stderr


def test_list_of_a_phase_that_is_none_is_refused(run: Run) -> None:
    done = run("list", "--phase", "runing")
    assert (done.returncode, "'runing' is no phase: write one of Pending" in done.stderr) == (2, True)


def test_unknown_field_is_told_with_the_command_that_lists_fields(server: ScriptServer, run: Run) -> None:
    message = 'strict decoding error: unknown field "spec.limits.maxStep"'
    server.script = [Answer(400, {"kind": "Status", "reason": "BadRequest", "message": message})]
    done = run("create", "-f", "-", stdin="kind: AgentSession\nspec: {goal: g, limits: {maxStep: 1}}\n")
    assert done.stderr == f"error: {message}: see `kubectl explain agentsession.spec.limits`\n"


def test_conversation_is_followed_by_talking(server: ScriptServer, run: Run) -> None:
    body = resource("talk", spec={"conversation": {"open": True}})
    server.answer = lambda _: Answer(201, body)
    assert run("create", "talk", "--open").stderr == "talk with it: kubectl agentsession chat talk -n demo\n"


def test_limit_of_what_is_over_is_not_set(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(body=resource(phase="Completed"))]
    done = run("limits", "set", "hello", "--max-steps", "20")
    assert (done.returncode, "which is final" in done.stderr) == (1, True)
