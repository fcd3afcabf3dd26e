"""Two sessions, or two rounds of one, laid side by side step by step. Pure."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, Final

from agentsessions.api.model import ApiModel
from agentsessions.gateway.listing import cut
from agentsessions.gateway.models import UsageAnswer
from agentsessions.journal.entries import EntryRow

SHOWN_CHARS: Final = 500
FIELDS: Final = ("text", "name", "arguments", "output", "isError", "code", "message")
"""What is compared of a body: not ids, times and counts, which differ always."""

Key = tuple[int, str, int, int]
"""Round, agent, step, place in the step."""


class Difference(StrEnum):
    """How two sides differ at one place."""

    SAME = "same"
    CHANGED = "changed"
    ONLY_LEFT = "onlyLeft"
    ONLY_RIGHT = "onlyRight"


class Side(ApiModel):
    """One session's part at one place."""

    seq: int
    """Number of its journal entry."""
    type: str
    """thinking, tool_call, tool_result, output, compaction or error."""
    name: str | None = None
    """Of a tool."""
    text: str | None = None
    """What was said, asked for or returned; a long one ends in `…`. Absent once redacted."""


class Place(ApiModel):
    """What the two have at one place."""

    round: int | None = None
    """Round of the goal; absent when one round is compared with another."""
    agent: str
    """Agent."""
    step: int
    """Number of the agent's model answer."""
    index: int
    """Place within the step."""
    difference: Difference
    """same, changed, onlyLeft or onlyRight."""
    fields: list[str] | None = None
    """With changed: which fields; `body` when one side was redacted."""
    left: Side | None = None
    """With all but same: the left side."""
    right: Side | None = None
    """With all but same: the right side."""


class Counts(ApiModel):
    """How many places are how."""

    same: int = 0
    changed: int = 0
    only_left: int = 0
    only_right: int = 0


class Compared(ApiModel):
    """One of the two sessions."""

    uid: str
    """Its uid."""
    namespace: str
    """Its namespace."""
    name: str
    """Its name."""
    round: int | None = None
    """The round that was compared, when one was named."""
    phase: str
    """Where it is."""
    usage: UsageAnswer
    """What the whole session spent."""
    duration_milliseconds: int | None = None
    """From its first pod to its end."""


class Comparison(ApiModel):
    """Two sessions side by side."""

    left: Compared
    right: Compared
    summary: Counts
    """Over all places."""
    is_same: bool
    """Whether all places are the same."""
    items: list[Place]
    """Place by place."""


def compare(left: Iterable[EntryRow], right: Iterable[EntryRow], *, by_round: bool) -> list[Place]:
    """Return both sides place by place.

    Args:
        left: Entries of steps, in any order.
        right: The other side's.
        by_round: Whether places of different rounds are different places.
    """
    sides = [{_key(entry, by_round=by_round): entry for entry in side} for side in (left, right)]
    keys = sorted(sides[0].keys() | sides[1].keys())
    return [_place(key, sides[0].get(key), sides[1].get(key), by_round=by_round) for key in keys]


def count(places: Iterable[Place]) -> Counts:
    """Return how many places are how."""
    kinds = [place.difference for place in places]
    return Counts(
        same=kinds.count(Difference.SAME),
        changed=kinds.count(Difference.CHANGED),
        only_left=kinds.count(Difference.ONLY_LEFT),
        only_right=kinds.count(Difference.ONLY_RIGHT),
    )


def _key(entry: EntryRow, *, by_round: bool) -> Key:
    return entry.round if by_round else 0, entry.agent, entry.step, entry.index


def _place(key: Key, left: EntryRow | None, right: EntryRow | None, *, by_round: bool) -> Place:
    fields: list[str] = []
    if left is None:
        difference = Difference.ONLY_RIGHT
    elif right is None:
        difference = Difference.ONLY_LEFT
    else:
        fields = list(_changed(left, right))
        difference = Difference.CHANGED if fields else Difference.SAME
    is_shown = difference is not Difference.SAME
    return Place(
        round=key[0] if by_round else None,
        agent=key[1],
        step=key[2],
        index=key[3],
        difference=difference,
        fields=fields or None,
        left=_side(left) if left and is_shown else None,
        right=_side(right) if right and is_shown else None,
    )


def _changed(left: EntryRow, right: EntryRow) -> Iterator[str]:
    if left.type is not right.type:
        yield "type"
    if left.body is None or right.body is None:
        if left.body_digest != right.body_digest:
            yield "body"
        return
    yield from (name for name in FIELDS if left.body.get(name) != right.body.get(name))


def _side(entry: EntryRow) -> Side:
    body: dict[str, Any] = entry.body or {}
    text = next((body[name] for name in ("text", "output", "arguments", "message") if body.get(name) is not None), None)
    return Side(
        seq=entry.seq,
        type=entry.type,
        name=body.get("name"),
        text=None if text is None else cut(str(text), SHOWN_CHARS),
    )
