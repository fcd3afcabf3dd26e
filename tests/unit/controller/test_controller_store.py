from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.controller.patches import merge_diff
from agentsessions.controller.store import Sessions
from tests.builders import SESSION_UID
from tests.unit.controller.objects import a_raw_session

KEY = "team/rows"


@pytest.mark.parametrize(
    ("versions", "kept"),
    [
        pytest.param(["7", "9"], "9", id="a newer view replaces"),
        pytest.param(["9", "7"], "9", id="an older view does not"),
        pytest.param(["9", "10"], "10", id="versions are numbers, not words"),
    ],
)
def test_sessions_keep_the_newest_view(versions: list[str], kept: str) -> None:
    sessions = Sessions()
    for version in versions:
        sessions.put(a_raw_session(version))
    assert sessions.version_of(KEY) == kept


def test_sessions_say_whether_a_view_is_news() -> None:
    sessions = Sessions()
    assert [sessions.put(a_raw_session(version))[1] for version in ("7", "7", "8", "7")] == [True, False, True, False]


def test_sessions_forget_only_the_object_that_is_meant() -> None:
    sessions = Sessions()
    sessions.put(a_raw_session())
    assert sessions.remove(KEY, "another uid") is None
    assert sessions.key_of_uid(SESSION_UID) == KEY
    assert sessions.remove(KEY, SESSION_UID) is not None
    assert sessions.key_of_uid(SESSION_UID) is None


def test_sessions_follow_a_name_that_was_used_again() -> None:
    sessions, again = Sessions(), a_raw_session("20")
    again["metadata"]["uid"] = "second"
    sessions.put(a_raw_session("7"))
    sessions.put(again)
    assert sessions.key_of_uid(SESSION_UID) is None
    assert sessions.key_of_uid("second") == KEY


json_values = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), json_values, max_size=4)


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


@given(objects, objects)
def test_merge_diff_applied_to_old_gives_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert apply_merge_patch(old, merge_diff(old, new)) == new


@given(objects)
def test_merge_diff_of_equals_is_empty(value: dict[str, Any]) -> None:
    assert merge_diff(value, value) == {}
