"""Which call a rule disturbs, and how."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol

from hack.faults.faultproxy.calls import Call, read_call, read_event
from hack.faults.faultproxy.faults import Answer, Kill, When, default_reason
from hack.faults.faultproxy.proxy import Lists, read_lines
from hack.faults.faultproxy.rules import Match, Rule, RuleError, read_rule

SESSIONS = "/apis/agentsessions.dev/v1alpha1"


@pytest.mark.parametrize(
    ("method", "path", "query", "want"),
    [
        pytest.param("POST", "/api/v1/namespaces/t/pods", {}, Call("create", "pods", "t"), id="a create"),
        pytest.param("DELETE", "/api/v1/namespaces/t/pods/p", {}, Call("delete", "pods", "t", "p"), id="a delete"),
        pytest.param(
            "PATCH",
            f"{SESSIONS}/namespaces/t/agentsessions/rows/status",
            {},
            Call("patch", "agentsessions/status", "t", "rows"),
            id="a subresource",
        ),
        pytest.param("GET", f"{SESSIONS}/agentsessions", {}, Call("list", "agentsessions"), id="all namespaces"),
        pytest.param("GET", "/api/v1/pods", {"watch": "true"}, Call("watch", "pods"), id="a watch"),
        pytest.param("GET", "/api/v1/namespaces/t", {}, Call("get", "namespaces", "", "t"), id="a namespace itself"),
        pytest.param(
            "PUT", "/api/v1/namespaces/t/finalize", {}, Call("update", "namespaces/finalize", "", "t"), id="its end"
        ),
        pytest.param("GET", "/version", {}, Call("get"), id="no resource at all"),
    ],
)
def test_read_call_names_what_a_request_is_about(method: str, path: str, query: dict[str, str], want: Call) -> None:
    assert read_call(method, path, query) == want


@pytest.mark.parametrize(
    ("kind", "want"),
    [
        pytest.param("MODIFIED", Call("event", "pods", "t", "p"), id="a change"),
        pytest.param("BOOKMARK", None, id="a bookmark tells of no object"),
        pytest.param("ERROR", None, id="nor does an error"),
    ],
)
def test_read_event_names_the_object_that_changed(kind: str, want: Call | None) -> None:
    event = {"type": kind, "object": {"metadata": {"namespace": "t", "name": "p"}}}
    assert read_event(Call("watch", "pods"), event) == want


def test_lists_repeat_the_last_answer_once() -> None:
    lists = Lists()
    lists.note("/api/v1/pods", {}, b"old")
    assert lists.take_old("/api/v1/pods") is None
    lists.repeat()
    lists.note("/api/v1/pods", {}, b"new")
    answers = [lists.take_old("/api/v1/pods") for _ in range(2)]
    assert [answer and answer.body for answer in answers] == [b"old", None]


async def test_read_lines_joins_what_came_in_pieces() -> None:
    content = aiohttp.StreamReader(BaseProtocol(asyncio.get_running_loop()), limit=2**16)
    for piece in (b'{"a"', b": 1}\n{", b'"b": 2}\n'):
        content.feed_data(piece)
    content.feed_eof()
    assert [line async for line in read_lines(content)] == [b'{"a": 1}\n', b'{"b": 2}\n']


@pytest.mark.parametrize(
    ("match", "call", "want"),
    [
        pytest.param(Match(), Call("patch", "pods", "t", "p"), True, id="any change"),
        pytest.param(Match(), Call("watch", "pods"), False, id="reads do not count by themselves"),
        pytest.param(Match(namespace="t"), Call("create", "pods", "u"), False, id="another namespace"),
        pytest.param(
            Match(resource="pods"), Call("patch", "pods/status", "t", "p"), False, id="a subresource is another"
        ),
        pytest.param(Match(verbs=frozenset({"list"})), Call("list", "pods"), True, id="reads that are asked for"),
    ],
)
def test_match_counts_the_calls_it_names(match: Match, call: Call, want: bool) -> None:
    assert match.holds(call) is want


def test_read_rule_takes_json() -> None:
    text = '{"match": {"resource": "pods", "verbs": ["create"]}, "at": 2, "fault": {"kind": "kill", "when": "after"}}'
    want = Rule(Kill(When.AFTER), at=2, match=Match(frozenset({"create"}), "pods"))
    assert read_rule(json.loads(text)) == want
    assert read_rule({"fault": {"kind": "answer", "status": 429}}) == Rule(Answer(429))


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        pytest.param({"fault": {"kind": "explode"}}, "kill", id="an unknown fault: the known ones are named"),
        pytest.param({"fault": {"kind": "kill", "when": "never"}}, "before, after", id="an unknown time"),
        pytest.param({"fault": {"kind": "kill", "status": 409}}, "status", id="a field of another fault"),
        pytest.param({"fault": {"kind": "answer"}}, "status", id="a field that is missing"),
        pytest.param({"fault": {"kind": "kill"}, "after": 3}, "after", id="an unknown field of the rule"),
        pytest.param({"fault": {"kind": "kill"}, "match": {"kind": "Pod"}}, "kind", id="an unknown field of the match"),
    ],
)
def test_read_rule_refuses_what_it_does_not_know(rule: Mapping[str, Any], word: str) -> None:
    with pytest.raises(RuleError, match=word):
        read_rule(rule)


def test_a_refusal_with_409_says_what_the_api_server_says_to_that_verb() -> None:
    assert [default_reason(409, verb) for verb in ("create", "patch")] == ["AlreadyExists", "Conflict"]
