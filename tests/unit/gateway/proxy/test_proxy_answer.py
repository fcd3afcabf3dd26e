"""From deltas to one answer, and what must not pass."""

from typing import Any

import pytest

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.proxy.answer import Accumulator, Answer
from agentsessions.gateway.proxy.checks import check_answer
from agentsessions.gateway.proxy.faults import ModelFault


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def collect(*chunks: dict[str, Any]) -> Answer:
    collected = Accumulator()
    for chunk in chunks:
        collected.add(chunk)
    return collected.finish()


def call(index: int | None = None, **function: str) -> dict[str, Any]:
    return ({} if index is None else {"index": index}) | {"function": function}


def test_answer_joins_text_calls_and_usage() -> None:
    answer = collect(
        delta(role="assistant", content="", refusal=None),
        delta(content="one "),
        delta(content="two"),
        delta(tool_calls=[{"id": "a", **call(0, name="shell", arguments="")}]),
        delta(tool_calls=[call(0, arguments='{"x"')]),
        delta(tool_calls=[{"id": "a", **call(1, name="files", arguments="{}")}, call(0, arguments=":1}")]),
        delta("tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
    )

    assert answer.text == "one two"
    assert [one["function"] for one in answer.calls] == [
        {"name": "shell", "arguments": '{"x":1}'},
        {"name": "files", "arguments": "{}"},
    ]
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 3)


def test_answer_of_a_provider_that_does_not_stream_is_read_alike() -> None:
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "a", **call(name="x", arguments="{}")}, {"id": "b", **call(name="y", arguments="{}")}],
    }

    answer = collect({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})

    assert [one["id"] for one in answer.calls] == ["a", "b"]
    assert answer.usage is None


def test_a_character_split_over_two_chunks_is_whole_again() -> None:
    assert collect(delta(content="\ud83d"), delta("stop", content="\ude00")).text == "😀"
    assert collect(delta("stop", content="half \ud83d")).text == "half \ufffd"


def test_a_refusal_in_words_is_an_answer() -> None:
    assert collect(delta(refusal="I cannot"), delta("stop")).text == "I cannot"


def test_a_stream_without_finish_reason_was_cut() -> None:
    with pytest.raises(ModelFault) as caught:
        collect(delta(content="half an ans"))

    assert (caught.value.code, caught.value.is_retried, caught.value.is_charged) == (ErrorCode.NETWORK, True, True)


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param({"choices": [{"index": 1, "delta": {"content": "x"}}]}, id="a second choice"),
        pytest.param({"choices": [{"delta": {}}, {"delta": {}}]}, id="two choices at once"),
        pytest.param({"choices": ["text"]}, id="a choice that is text"),
        pytest.param({"choices": [{"delta": {"content": {"text": "x"}}}]}, id="content that is an object"),
        pytest.param(
            {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {"a": 1}}}]}}]}, id="object arguments"
        ),
        pytest.param({"choices": 3}, id="choices that are a number"),
    ],
)
def test_chunks_of_unknown_form_are_a_model_error(chunk: dict[str, Any]) -> None:
    with pytest.raises(ModelFault) as caught:
        Accumulator().add(chunk)

    assert (caught.value.code, caught.value.is_retried) == (ErrorCode.MODEL_ERROR, False)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        pytest.param(Answer("", (), "stop", None, 0), ErrorCode.EMPTY_ANSWER, id="nothing at all"),
        pytest.param(Answer(" \n", (), "tool_calls", None, 0), ErrorCode.EMPTY_ANSWER, id="blanks"),
        pytest.param(Answer("half", (), "length", None, 0), ErrorCode.MODEL_ERROR, id="cut off by the provider"),
        pytest.param(Answer("some", (), "content_filter", None, 0), ErrorCode.MODEL_ERROR, id="withheld"),
    ],
)
def test_answers_that_must_not_become_results(answer: Answer, code: ErrorCode) -> None:
    with pytest.raises(ModelFault) as caught:
        check_answer(answer, is_capped_by_us=False)

    assert (caught.value.code, caught.value.is_charged) == (code, True)


def test_an_answer_that_our_cap_cut_is_no_fault_of_the_model() -> None:
    check_answer(Answer("half", (), "length", None, 0), is_capped_by_us=True)


def test_answer_of_endless_calls_is_refused() -> None:
    with pytest.raises(ModelFault, match="more than 1000 tool calls"):
        collect(*(delta(tool_calls=[call(number)]) for number in range(1001)))


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        pytest.param(r'{"a": "\ud800"}', r'{"a": "\ufffd"}', id="the first half alone"),
        pytest.param(r'{"a": "\udc00\ud83d"}', r'{"a": "\ufffd\ufffd"}', id="halves in the wrong order"),
        pytest.param(r'{"a": "\ud83d\ude00"}', r'{"a": "\ud83d\ude00"}', id="a pair"),
        pytest.param(r'{"a": "\\ud800"}', r'{"a": "\\ud800"}', id="no escape at all"),
        pytest.param(r'{"a": "\ud83d\u0041"}', r'{"a": "\ufffd\u0041"}', id="half of one before another character"),
    ],
)
def test_arguments_hold_no_half_of_a_character(written: str, whole: str) -> None:
    answer = collect(delta("tool_calls", tool_calls=[call(0, name="shell", arguments=written)]))
    assert answer.calls[0]["function"]["arguments"] == whole


@pytest.mark.parametrize(
    ("written", "is_kept"),
    [
        pytest.param("[" * 2000, False, id="brackets that never end"),
        pytest.param('{"a":' * 101 + "1" + "}" * 101, False, id="one level too many"),
        pytest.param('{"a":' * 100 + "1" + "}" * 100, True, id="as many as may be"),
        pytest.param('{"a": "' + "[" * 2000 + '"}', True, id="brackets in a text"),
        pytest.param("[" + "{}," * 2000 + "{}]", True, id="many beside each other"),
    ],
)
def test_arguments_are_no_deeper_than_engines_go(written: str, *, is_kept: bool) -> None:
    answer = collect(delta("tool_calls", tool_calls=[call(0, name="shell", arguments=written)]))
    found = answer.calls[0]["function"]["arguments"]
    assert (found == written) is is_kept
    assert is_kept or found.startswith("nested more than 100 levels deep, and left out; it began: ")
