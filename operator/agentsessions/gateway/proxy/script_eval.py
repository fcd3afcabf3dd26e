"""What a scripted model says to a request. Pure: quoting is text replacement, never evaluation."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentsessions.api.v1alpha1.script import Script, ScriptAnswer, ScriptCapture, ScriptError, ScriptMatch, ScriptRule
from agentsessions.lifecycle.patterns import find_piece, is_found
from agentsessions.lifecycle.scripts import QUOTE

BYTES_PER_TOKEN: Final = 4
MAX_QUOTED_CHARACTERS: Final = 4 * 1024 * 1024
"""All that one answer quotes. A text of quotes alone could else ask for a thousand times its own length."""
_GOAL_END: Final = re.compile(r"(?:\A|\n\n)(?:Context:\n|Files in your workspace )")
"""What the first message says after the goal, if there is one, as `gateway.goal` writes it; a test compares them."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """The facts of a request that rules look at."""

    agent: str
    model: str
    attempt: int
    step: int
    goal: str
    text: str
    results: tuple[str, ...]

    @property
    def last_result(self) -> str | None:
        """The newest tool result."""
        return self.results[-1] if self.results else None

    def result(self, number: int) -> str:
        """Return a tool result by number (1 the first, -1 the last); empty when there is no such one."""
        index = number - 1 if number > 0 else number
        if number == 0 or not -len(self.results) <= index < len(self.results):
            return ""
        return self.results[index]


@dataclass(frozen=True, slots=True)
class PlayedCall:
    """A tool call as it goes out."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Played:
    """What the model says, every quote replaced."""

    rule: str
    text: str
    calls: tuple[PlayedCall, ...]
    error: ScriptError | None
    delay_seconds: float
    stream_seconds: float
    input_tokens: int
    output_tokens: int
    is_cut_short: bool = False
    """Whether the request's cap ended the answer (`finish_reason: length`)."""


class TooMuchQuotedError(ValueError):
    """A script asks for an answer that is larger than any model's."""


def to_prompt(body: Mapping[str, Any], *, agent: str, model: str, attempt: int) -> Prompt:
    """Return the facts of a Chat Completions request."""
    messages = [message for message in body.get("messages", ()) if isinstance(message, dict)]
    users = [text_of(message.get("content")) for message in messages if message.get("role") == "user"]
    return Prompt(
        agent=agent,
        model=model,
        attempt=attempt,
        step=1 + sum(message.get("role") == "assistant" for message in messages),
        goal=_GOAL_END.split(users[0], maxsplit=1)[0] if users else "",
        text=users[-1] if users else "",
        results=tuple(text_of(message.get("content")) for message in messages if message.get("role") == "tool"),
    )


def text_of(content: Any) -> str:
    """Return the text of a message's content, given as text or as parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def play(script: Script, prompt: Prompt, *, request_bytes: int, cap_tokens: int | None) -> Played | None:
    """Return what the first rule that matches says, or nothing when none does.

    Args:
        script: The rules.
        prompt: The facts of the request.
        request_bytes: Size of the request, for the input tokens a rule does not state.
        cap_tokens: The request's cap on output tokens; a longer answer ends there, as a real model's does.

    Raises:
        PatternError: A rule's pattern cannot be used; the operator says so in the provider's status.
        TooMuchQuotedError: The answer would be too large.
    """
    for number, rule in enumerate(script.rules, start=1):
        if _matches(rule.when or ScriptMatch(), prompt):
            return _cap(_render(rule, number, prompt, request_bytes), cap_tokens)
    return None


def _matches(when: ScriptMatch, prompt: Prompt) -> bool:
    numbers = ((when.step, prompt.step), (when.attempt, prompt.attempt))
    texts = (
        (when.agent, prompt.agent),
        (when.model, prompt.model),
        (when.text, prompt.text),
        (when.last_result, prompt.last_result),
    )
    return all(wanted is None or wanted == found for wanted, found in numbers) and all(
        pattern is None or (text is not None and is_found(pattern, text)) for pattern, text in texts
    )


def _render(rule: ScriptRule, number: int, prompt: Prompt, request_bytes: int) -> Played:
    answer = rule.answer
    pieces = {capture.name: _capture(capture, prompt) for capture in answer.capture or ()}
    quotes = _Quotes(prompt, pieces)
    text = quotes.fill(answer.text or "")
    calls = _calls(answer, prompt.step, quotes)
    answer_bytes = len(text.encode("utf-8", "replace")) + sum(len(call.name) + len(call.arguments) for call in calls)
    return Played(
        rule=rule.name or str(number),
        text=text,
        calls=calls,
        error=answer.error,
        delay_seconds=(answer.delay_milliseconds or 0) / 1000,
        stream_seconds=(answer.stream_milliseconds or 0) / 1000,
        input_tokens=_tokens(request_bytes) if answer.input_tokens is None else answer.input_tokens,
        output_tokens=_tokens(answer_bytes) if answer.output_tokens is None else answer.output_tokens,
    )


def _tokens(size_bytes: int) -> int:
    return max(1, size_bytes // BYTES_PER_TOKEN)


def _calls(answer: ScriptAnswer, step: int, quotes: "_Quotes") -> tuple[PlayedCall, ...]:
    def arguments(raw: str | None, wanted: Mapping[str, Any] | None) -> str:
        return raw if raw is not None else json.dumps(quotes.fill_all(wanted or {}), ensure_ascii=False)

    return tuple(
        PlayedCall(
            # An empty id is one a provider may send; the gateway gives each call its own in any case.
            id=f"call_{step}_{position}" if call.id is None else call.id,
            name=call.name,
            arguments=arguments(call.raw_arguments, call.arguments),
        )
        for position, call in enumerate(answer.tool_calls or (), start=1)
    )


def _capture(capture: ScriptCapture, prompt: Prompt) -> str:
    return find_piece(capture.pattern, prompt.result(capture.result))


class _Quotes:
    """Fills in what one answer quotes, up to a bound."""

    def __init__(self, prompt: Prompt, pieces: Mapping[str, str]) -> None:
        self._prompt = prompt
        self._named = {**pieces, "goal": prompt.goal, "text": prompt.text}
        self._room = MAX_QUOTED_CHARACTERS

    def fill(self, text: str) -> str:
        """Return `text` with every quote replaced.

        Raises:
            TooMuchQuotedError: The answer quotes more than is allowed.
        """
        return QUOTE.sub(self._value, text)

    def fill_all(self, value: Any) -> Any:
        """Fill in the strings of a JSON value; see `fill`."""
        match value:
            case str():
                return self.fill(value)
            case list():
                return [self.fill_all(item) for item in value]
            case dict():
                return {key: self.fill_all(item) for key, item in value.items()}
            case _:
                return value

    def _value(self, quote: re.Match[str]) -> str:
        name, number = quote.groups()
        found = self._named.get(name, "") if number is None else self._prompt.result(int(number))
        self._room -= len(found)
        if self._room < 0:
            raise TooMuchQuotedError(f"the answer quotes more than {MAX_QUOTED_CHARACTERS} characters; quote less")
        return found


def _cap(played: Played, cap_tokens: int | None) -> Played:
    if cap_tokens is None or played.output_tokens <= cap_tokens:
        return played
    return Played(
        rule=played.rule,
        text=played.text[: cap_tokens * BYTES_PER_TOKEN],
        calls=_broken_off(played.calls),
        error=played.error,
        delay_seconds=played.delay_seconds,
        stream_seconds=played.stream_seconds,
        input_tokens=played.input_tokens,
        output_tokens=cap_tokens,
        is_cut_short=True,
    )


def _broken_off(calls: Sequence[PlayedCall]) -> tuple[PlayedCall, ...]:
    # What a real model does at its cap: the last call's arguments are half there.
    return tuple(PlayedCall(call.id, call.name, call.arguments[: len(call.arguments) // 2]) for call in calls)
