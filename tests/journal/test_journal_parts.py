"""Digests of a request's parts tell what of it was changed, and nothing else."""

from typing import Any

import pytest

from agentsessions.journal.digests import part_digests

pytestmark = pytest.mark.requirement("STEP-4")


def a_request(**changes: Any) -> dict[str, Any]:
    call = {"id": "call_1_1_0", "type": "function", "function": {"name": "shell", "arguments": "{}"}}
    return {
        "model": "m",
        "temperature": 0.5,
        "tools": [{"type": "function", "function": {"name": "shell"}}],
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Go."},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1_1_0", "content": "ok"},
        ],
        "stream": True,
        **changes,
    }


def with_messages(**by_role: Any) -> dict[str, Any]:
    messages = [message | by_role.get(message["role"], {}) for message in a_request()["messages"]]
    return a_request(messages=messages)


@pytest.mark.parametrize(
    ("other", "parts"),
    [
        pytest.param(a_request(), set(), id="the same"),
        pytest.param(a_request(stream=False, stream_options={}), set(), id="another transport"),
        pytest.param(a_request(seed=None), set(), id="what is not given, said with null"),
        pytest.param(a_request(model="n"), {"model"}, id="another model"),
        pytest.param(a_request(temperature=0.7), {"settings"}, id="another setting"),
        pytest.param(a_request(tools=None), {"tools"}, id="no tools"),
        pytest.param(with_messages(system={"content": "Be long."}), {"instructions"}, id="other instructions"),
        pytest.param(with_messages(user={"content": "Stop."}), {"conversation"}, id="something else said"),
        pytest.param(with_messages(tool={"content": "failed"}), {"conversation"}, id="another result"),
        pytest.param(
            with_messages(
                assistant={"tool_calls": [{**a_request()["messages"][2]["tool_calls"][0], "id": "call_1_7_0"}]},
                tool={"tool_call_id": "call_1_7_0"},
            ),
            set(),
            id="other ids of calls",
        ),
        pytest.param(with_messages(tool={"tool_call_id": "call_9"}), {"conversation"}, id="a result of another call"),
    ],
)
def test_parts_differ_where_the_request_does(other: dict[str, Any], parts: set[str]) -> None:
    before, after = part_digests(a_request()), part_digests(other)
    assert {name for name in before if before[name] != after[name]} == parts
