"""What a step of a replay did differently. Pure."""

from itertools import zip_longest
from typing import Any, Final

from agentsessions.journal.recordings import AskedTool, Step

SHOWN_CHARS: Final = 300
"""Of each side; the journals have the whole."""
NOTHING: Final = "nothing"

Difference = dict[str, Any]


def between(recorded: Step | None, own: Step, *, is_recorded: bool) -> list[Difference]:
    """Return what is different, part by part: of the request, the answer, and the results of its tool calls.

    Args:
        recorded: What the other session did; None when it did not come so far.
        own: What the replay did.
        is_recorded: Whether the answer was served from the recording; else it is compared, and what was asked is not:
            what was said before differs as soon as one answer did.
    """
    if recorded is None:
        return [{"what": "step", "expected": NOTHING, "got": "a step more"}]
    found = _of_request(recorded, own, skipped=() if is_recorded else ("conversation",))
    if not is_recorded:
        found += _of_answer(recorded, own)
    pairs = zip_longest(recorded.tools, own.tools)
    found += [difference for theirs, ours in pairs if (difference := _of_result(theirs, ours)) is not None]
    return found


def to_text(step: int, found: list[Difference]) -> str:
    """Return differences of a step as a sentence for people."""
    return f"step {step}: " + "; ".join(_to_words(one) for one in found)


def _of_request(recorded: Step, own: Step, *, skipped: tuple[str, ...]) -> list[Difference]:
    if recorded.parts is None or own.parts is None:
        return []
    names = [name for name in own.parts if name not in skipped]
    parts = [name for name in names if own.parts[name] != recorded.parts.get(name)]
    return [{"what": "request", "parts": parts}] if parts else []


def _of_answer(recorded: Step, own: Step) -> list[Difference]:
    found = []
    if (recorded.text or "") != (own.text or ""):
        found.append({"what": "text", "expected": _cut(recorded.text), "got": _cut(own.text)})
    theirs, ours = ([(tool.name, tool.arguments) for tool in step.tools] for step in (recorded, own))
    if theirs != ours:
        found.append({"what": "toolCalls", "expected": _cut(_calls(theirs)), "got": _cut(_calls(ours))})
    return found


def _of_result(theirs: AskedTool | None, ours: AskedTool | None) -> Difference | None:
    """Return how the results of one call differ; calls that differ themselves are told as such."""
    if theirs is None or ours is None or (theirs.name, theirs.arguments) != (ours.name, ours.arguments):
        return None
    if theirs.output == ours.output:
        return None
    return {"what": "toolResult", "name": ours.name, "expected": _cut(theirs.output), "got": _cut(ours.output)}


def _calls(tools: list[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {arguments}" for name, arguments in tools)


def _cut(text: str | None) -> str:
    if not text:
        return NOTHING
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def _to_words(one: Difference) -> str:
    match one["what"]:
        case "request":
            return f"the request has other {', '.join(one['parts'])}"
        case "text":
            what = "the answer is"
        case "toolCalls":
            what = "the tool calls are"
        case "toolResult":
            what = f"{one['name']} returned"
        case _:
            return str(one["got"])
    return f"{what} {_quoted(one['got'])}, recorded was {_quoted(one['expected'])}"


def _quoted(text: str) -> str:
    return text if text == NOTHING else repr(text)
