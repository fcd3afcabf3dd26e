"""What is wrong with a script, before anyone talks to it. Pure: the operator asks, the gateway need not.

A quote is `${goal}`, `${text}`, `${result[1]}`, `${result[-1]}` or `${name}` of a capture. Other text with `${` is left
as it stands, so that shell text such as `${HOME}` or `${x:-1}` needs no escape.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from agentsessions.api.v1alpha1.script import Script, ScriptAnswer, ScriptMatch, ScriptRule
from agentsessions.lifecycle.patterns import PatternError, check_pattern

QUOTE: Final = re.compile(r"\$\{(goal|text|result\[(-?\d{1,3})\]|[a-z][A-Za-z0-9]*)\}")
"""Group 1 is the name; group 2 the number of a result."""
RESERVED: Final = frozenset({"goal", "text", "result"})
"""Names that a capture cannot take."""


def script_problems(script: Script) -> list[str]:
    """Return what keeps `script` from being played, as sentences that name rule and remedy; empty when sound."""
    return [
        f"rule {rule.name or number}: {problem}"
        for number, rule in enumerate(script.rules, start=1)
        for problem in _rule_problems(rule)
    ]


def quotes(value: Any) -> Iterator[re.Match[str]]:
    """Find the quotes in the strings of a JSON value; keys of objects do not quote."""
    match value:
        case str():
            yield from QUOTE.finditer(value)
        case list():
            for item in value:
                yield from quotes(item)
        case dict():
            for item in value.values():
                yield from quotes(item)


def _rule_problems(rule: ScriptRule) -> Iterator[str]:
    yield from _match_problems(rule.when or ScriptMatch())
    yield from _capture_problems(rule.answer)
    yield from _call_problems(rule.answer)
    yield from _quote_problems(rule.answer)
    yield from _error_problems(rule.answer)


def _match_problems(when: ScriptMatch) -> Iterator[str]:
    patterns = {"agent": when.agent, "model": when.model, "text": when.text, "lastResult": when.last_result}
    for name, pattern in patterns.items():
        if pattern is not None:
            yield from _pattern_problems(f"when.{name}", pattern)


def _capture_problems(answer: ScriptAnswer) -> Iterator[str]:
    seen: set[str] = set(RESERVED)
    for capture in answer.capture or ():
        if capture.name in seen:
            yield f"capture {capture.name!r} is reserved or there twice; give each its own name"
        seen.add(capture.name)
        if capture.result == 0:
            yield f"capture {capture.name!r} reads result 0; the first is 1, the last -1"
        yield from _pattern_problems(f"capture {capture.name!r}", capture.pattern)


def _pattern_problems(where: str, pattern: str) -> Iterator[str]:
    try:
        check_pattern(pattern)
    except PatternError as error:
        yield f"{where} is not a regular expression: {error} in {pattern!r}"


def _call_problems(answer: ScriptAnswer) -> Iterator[str]:
    for call in answer.tool_calls or ():
        if call.arguments is not None and call.raw_arguments is not None:
            yield f"tool call {call.name!r} has arguments and rawArguments; keep one"


def _quote_problems(answer: ScriptAnswer) -> Iterator[str]:
    known = {"goal", "text"} | {capture.name for capture in answer.capture or ()}
    for quote in quotes([answer.text or "", *(call.arguments for call in answer.tool_calls or ())]):
        name, number = quote.groups()
        if number is None and name not in known:
            yield f"{quote.group()} quotes a name that is not under capture; known are {', '.join(sorted(known))}"
        if number is not None and int(number) == 0:
            yield f"{quote.group()} quotes result 0; the first is 1, the last -1"


def _error_problems(answer: ScriptAnswer) -> Iterator[str]:
    error = answer.error
    if error is None:
        return
    if error.cut_after_characters is not None and not answer.text:
        yield "error.cutAfterCharacters breaks off an answer's text, and there is none; add text"
    if (error.status is None) == (error.cut_after_characters is None):
        yield "error needs one of status and cutAfterCharacters"
