"""The spec of a session that is made from another one, over HTTP and by the command line alike."""

from typing import Any

import pytest
from pydantic import ValidationError

from agentsessions.api.cloning import clone_spec, merge, replay_spec
from agentsessions.gateway.resource_bodies import SessionClone, SessionCreate
from tests.journal.builders import a_session

SPEC = {
    "goal": "g",
    "type": "Custom",
    "operatingMode": "Cancelled",
    "sessionId": "mine",
    "owner": "alice",
    "source": {"sessionRef": {"name": "before"}},
    "agents": [{"name": "a", "instructions": "Be brief."}],
    "conversation": {"open": False, "idleSeconds": 9},
}
pytestmark = pytest.mark.requirement("AG-7")


def test_a_clone_has_the_spec_but_for_what_is_the_others_own() -> None:
    source = {"sessionRef": {"name": "s"}}
    assert clone_spec(SPEC, source) == {
        "goal": "g",
        "type": "Custom",
        "agents": SPEC["agents"],
        "conversation": {"open": True, "idleSeconds": 9},
        "source": source,
    }


def test_a_replay_takes_no_conversation() -> None:
    replay = {"of": {"name": "s"}}
    wanted = {"goal": "g", "type": "Custom", "agents": SPEC["agents"], "replay": replay}
    assert replay_spec(SPEC, replay) == wanted


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        pytest.param({"a": 1, "b": 2}, {"a": None}, {"b": 2}, id="null removes"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}, id="objects are merged"),
        pytest.param({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, id="lists are replaced"),
        pytest.param({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}, id="an object in place of a value"),
    ],
)
def test_merge_does_as_rfc_7386_says(target: Any, patch: Any, merged: Any) -> None:
    assert merge(target, patch) == merged


def test_a_clone_over_http_names_the_very_session_and_what_is_to_be_different() -> None:
    body = SessionClone.model_validate({"name": "n", "atStep": 3, "overrides": {"goal": "h", "conversation": None}})
    made = body.to_create(a_session("uid-1", name="s", spec=SPEC))
    assert made["source"] == {"sessionRef": {"name": "s", "uid": "uid-1"}, "atStep": 3}
    assert (made["name"], made["goal"], "conversation" in made) == ("n", "h", False)
    assert SessionCreate.model_validate(made).source is not None


def test_a_replay_over_http_says_how() -> None:
    body = SessionClone.model_validate({"replay": {"mode": "Live", "untilStep": 2}})
    made = body.to_create(a_session("uid-1", name="s", spec=SPEC))
    assert made["replay"] == {"of": {"name": "s", "uid": "uid-1"}, "mode": "Live", "untilStep": 2}


@pytest.mark.parametrize("other", [{"atStep": 1}, {"history": "Reset"}])
def test_a_request_for_a_clone_and_a_replay_at_once_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="leave out replay"):
        SessionClone.model_validate({"replay": {"mode": "Recorded"}, **other})
