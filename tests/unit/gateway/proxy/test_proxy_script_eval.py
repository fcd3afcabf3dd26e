"""What a scripted model says."""

import json
from typing import Any

import pytest

from agentsessions.api.v1alpha1.script import Script
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.gateway.goal import build_goal_message
from agentsessions.gateway.proxy.script_eval import Played, TooMuchQuotedError, play, to_prompt

GOAL: dict[str, Any] = {"role": "user", "content": "find the sum"}
ASKED: dict[str, Any] = {
    "role": "assistant",
    "tool_calls": [{"id": "c", "function": {"name": "shell", "arguments": "{}"}}],
}


def result(text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "c", "content": text}


def say(
    rules: list[dict[str, Any]], messages: list[dict[str, Any]], *, attempt: int = 1, cap_tokens: int | None = None
) -> Played | None:
    prompt = to_prompt({"messages": messages}, agent="analyst", model="m", attempt=attempt)
    return play(Script.model_validate({"rules": rules}), prompt, request_bytes=400, cap_tokens=cap_tokens)


@pytest.mark.parametrize(
    ("when", "messages", "attempt", "is_match"),
    [
        pytest.param({}, [GOAL], 1, True, id="an empty match matches everything"),
        pytest.param({"agent": "^ana"}, [GOAL], 1, True, id="agent by pattern"),
        pytest.param({"agent": "^other"}, [GOAL], 1, False, id="another agent"),
        pytest.param({"model": "^m$"}, [GOAL], 1, True, id="model by pattern"),
        pytest.param({"step": 1}, [GOAL], 1, True, id="the first answer"),
        pytest.param({"step": 2}, [GOAL, ASKED, result("1")], 1, True, id="the second answer"),
        pytest.param({"step": 1}, [GOAL, ASKED, result("1")], 1, False, id="not the first any more"),
        pytest.param({"text": "sum$"}, [GOAL], 1, True, id="last user message"),
        pytest.param({"text": "sum$"}, [GOAL, {"role": "user", "content": "stop"}], 1, False, id="only the last one"),
        pytest.param({"lastResult": "."}, [GOAL], 1, False, id="no result, no match"),
        pytest.param({"lastResult": "2"}, [GOAL, ASKED, result("1"), result("2")], 1, True, id="newest result"),
        pytest.param({"attempt": 2}, [GOAL], 2, True, id="second attempt"),
        pytest.param({"attempt": 2}, [GOAL], 1, False, id="first attempt"),
        pytest.param({"step": 1, "text": "no"}, [GOAL], 1, False, id="all must hold"),
    ],
)
def test_play_matches(when: dict[str, Any], messages: list[dict[str, Any]], attempt: int, is_match: bool) -> None:
    assert (say([{"when": when, "answer": {"text": "x"}}], messages, attempt=attempt) is not None) is is_match


def test_play_takes_the_first_rule_that_matches() -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"step": 2}, "answer": {"text": "second"}},
        {"answer": {"text": "any"}},
        {"answer": {"text": "never"}},
    ]

    played = say(rules, [GOAL])

    assert played is not None
    assert (played.rule, played.text) == ("2", "any")


def test_play_replaces_quotes_once_and_leaves_other_text() -> None:
    answer = {
        "text": "${goal}: ${result[1]} ${result[-1]} ${result[9]}| ${sum} ${HOME}",
        "capture": [{"name": "sum", "pattern": "^sum=(\\d+)$"}],
    }

    played = say([{"answer": answer}], [GOAL, ASKED, result("${goal}"), result("a\nsum=42\nb")])

    assert played is not None
    assert played.text == "find the sum: ${goal} a\nsum=42\nb | 42 ${HOME}"


def test_play_quotes_inside_arguments_and_keeps_raw_ones() -> None:
    calls = [
        {"name": "shell", "arguments": {"command": "echo ${result[1]}", "n": 3, "more": ["${goal}"]}},
        {"name": "shell", "rawArguments": '{"command": ', "id": ""},
    ]

    played = say([{"answer": {"toolCalls": calls}}], [GOAL, ASKED, result("7")])

    assert played is not None
    first, second = played.calls
    assert json.loads(first.arguments) == {"command": "echo 7", "n": 3, "more": ["find the sum"]}
    assert (second.arguments, second.id) == ('{"command": ', "")
    assert first.id == "call_2_1"


def test_play_counts_a_token_for_four_bytes_unless_the_rule_says_more() -> None:
    counted = say([{"answer": {"text": "a" * 40}}], [GOAL])
    stated = say([{"answer": {"text": "a", "inputTokens": 0, "outputTokens": 9}}], [GOAL])

    assert counted is not None
    assert stated is not None
    assert (counted.input_tokens, counted.output_tokens) == (100, 10)
    assert (stated.input_tokens, stated.output_tokens) == (0, 9)


def test_play_ends_at_the_cap_as_a_real_model_does() -> None:
    played = say([{"answer": {"text": "a" * 40}}], [GOAL], cap_tokens=3)

    assert played is not None
    assert (played.text, played.output_tokens, played.is_cut_short) == ("a" * 12, 3, True)


def test_prompt_goal_is_the_goal_without_the_context_that_the_gateway_adds() -> None:
    spec = SessionSpec.model_validate(
        {
            "goal": "find it\n\nquickly",
            "context": {"text": "notes", "files": [{"path": "a.csv", "configMapKeyRef": {"name": "a", "key": "a"}}]},
        }
    )
    message = {"role": "user", "content": build_goal_message(spec)}

    assert to_prompt({"messages": [message]}, agent="a", model="m", attempt=1).goal == "find it\n\nquickly"


@pytest.mark.timeout(20)
def test_play_searches_in_linear_time() -> None:
    slow = {"when": {"text": "(a+)+$"}, "answer": {"text": "x"}}
    assert say([slow], [{"role": "user", "content": "a" * 100_000 + "b"}]) is None


def test_play_refuses_to_quote_without_bound() -> None:
    rules: list[dict[str, Any]] = [{"answer": {"text": "${result[1]}" * 5000}}]
    with pytest.raises(TooMuchQuotedError, match="quotes more than"):
        say(rules, [GOAL, ASKED, result("x" * 65_536)])


WITH_CONTEXT: dict[str, Any] = {"conversation": {"open": True}, "context": {"text": "c"}}
TALKED: list[dict[str, Any]] = [
    GOAL,
    {"role": "assistant", "content": "it is 3"},
    {"role": "user", "content": "and the product?"},
    {"role": "user", "content": "in words"},
]


def test_play_of_a_conversation_knows_the_goal_the_newest_message_and_the_number_of_the_answer() -> None:
    rules = [{"when": {"step": 2, "text": "^in words$"}, "answer": {"text": "${goal} / ${text}"}}]
    played = say(rules, TALKED)
    assert played is not None
    assert played.text == "find the sum / in words"


def test_play_of_a_session_without_goal_takes_its_first_message_for_it() -> None:
    rules = [{"answer": {"text": "${goal}!"}}]
    hello = {"role": "user", "content": "hello"}
    context = {"role": "user", "content": build_goal_message(SessionSpec.model_validate(WITH_CONTEXT))}
    assert [played.text for played in (say(rules, [hello]), say(rules, [context, hello])) if played] == ["hello!", "!"]
