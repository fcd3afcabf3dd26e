"""The script of a scripted model: ordered rules, first match answers.

Text and arguments may quote what came before: `${goal}`, `${text}` (the last user message), `${result[1]}` (first tool
result; `-1` the last) and the names under `capture`. Quoting is text replacement, never evaluation.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel, JsonObject
from agentsessions.api.v1alpha1.cel import cel

Pattern = Annotated[str, Field(min_length=1, max_length=512)]


class ScriptMatch(ApiModel):
    """What a request must look like. Absent means any; all that is present must hold."""

    agent: Pattern | None = None
    """Regular expression (RE2 syntax, searched) over the agent's name."""
    model: Pattern | None = None
    """Regular expression over the model's name."""
    step: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Number of this answer in the conversation, counted from 1: one more than the assistant messages so far."""
    text: Pattern | None = None
    """Regular expression over the last user message."""
    last_result: Pattern | None = None
    """Regular expression over the newest tool result; does not match when there is none."""
    attempt: Annotated[int, Field(ge=1, le=100)] | None = None
    """Number of this attempt at the same request, counted from 1: lets a script fail first and answer then."""


class ScriptCapture(ApiModel):
    """A piece of an earlier tool result, by name."""

    name: Annotated[str, Field(pattern=r"^[a-z][A-Za-z0-9]*$", max_length=40)]
    """Quoted as `${name}`."""
    result: Annotated[int, Field(ge=-100, le=100)] = -1
    """Which tool result: 1 is the first, -1 the last."""
    pattern: Pattern
    """Regular expression (RE2 syntax, multi-line); its first group, or the whole match, is the piece; empty without
    a match."""


class ScriptToolCall(ApiModel):
    """A tool call in the answer."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    """Tool's name as the model sees it, for example `shell`."""
    arguments: JsonObject | None = Field(default=None, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    """Arguments; strings in it may quote."""
    raw_arguments: Annotated[str, Field(max_length=4096)] | None = None
    """Arguments sent as they stand, to play a model that writes broken JSON."""
    id: Annotated[str, Field(max_length=64)] | None = None
    """Call id as the model would send it; by default a new one."""


class ScriptError(ApiModel):
    """A failure instead of an answer."""

    status: Annotated[int, Field(ge=400, le=599)] | None = None
    """HTTP status to answer with."""
    message: Annotated[str, Field(max_length=512)] = "scripted failure"
    """Message in the body."""
    code: Annotated[str, Field(max_length=64)] | None = None
    """Error code in the body, for example `context_length_exceeded`."""
    retry_after_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Value of the Retry-After header."""
    cut_after_characters: Annotated[int, Field(ge=0, le=100_000)] | None = None
    """Break the connection after so many characters of the answer's text. Needs `text`."""


class ScriptAnswer(ApiModel):
    """What the model says when a rule matches: text, tool calls, or an error."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.text) || has(self.toolCalls) || has(self.error)",
                    "an answer needs text, toolCalls or error",
                )
            ]
        }
    )

    text: Annotated[str, Field(max_length=65_536)] | None = None
    """Text of the answer. May quote."""
    tool_calls: Annotated[list[ScriptToolCall], Field(max_length=16)] | None = None
    """Tools that the model asks for."""
    capture: Annotated[list[ScriptCapture], Field(max_length=16)] | None = None
    """Pieces of earlier tool results that text and arguments quote by name."""
    delay_milliseconds: Annotated[int, Field(ge=0, le=600_000)] | None = None
    """Time before the first byte."""
    stream_milliseconds: Annotated[int, Field(ge=0, le=600_000)] | None = None
    """Time over which the answer's text is spread when streamed."""
    input_tokens: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    """Reported input tokens; by default one for every four bytes of the request."""
    output_tokens: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    """Reported output tokens; by default one for every four bytes of the answer."""
    error: ScriptError | None = None
    """Fail instead of answering."""


class ScriptRule(ApiModel):
    """One rule: when it matches, its answer is given."""

    name: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    """Name for logs."""
    when: ScriptMatch | None = None
    """What must hold; absent matches everything."""
    answer: ScriptAnswer
    """What the model then says."""


class Script(ApiModel):
    """Rules of a scripted model, tried in order."""

    rules: Annotated[list[ScriptRule], Field(min_length=1, max_length=64)]
    """The first rule that matches answers; none matching is the error `no_rule`."""
