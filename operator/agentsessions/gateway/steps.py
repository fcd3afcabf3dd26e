"""The steps of a session: a view over its journal entries, page by page."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from agentsessions.gateway.listing import cut
from agentsessions.gateway.models import StepAnswer, StepList
from agentsessions.journal.entries import OF_STEPS, EntryRow, EntryType
from agentsessions.journal.rows import MessageRole

READ_AT_ONCE: Final = 200
NEWS_CHARS: Final = 500
TOLD: Final = frozenset({EntryType.MESSAGE, EntryType.TOOL_RESULT})
"""What stands in front of a model's answer that is not from a model."""
ANSWERS: Final = frozenset({EntryType.THINKING, EntryType.OUTPUT})

StepKey = tuple[int, str, int]
"""Round, agent, step."""
Fetch = Callable[[int, int], Awaitable[list[EntryRow]]]


@dataclass(slots=True)
class _Step:
    """What an item needs to know of its step, and other entries say."""

    started_at: datetime | None = None
    complete: dict[str, Any] = field(default_factory=dict)
    new: list[dict[str, Any]] = field(default_factory=list)
    """What the model was told in this step, and in none before."""


async def read_steps(fetch: Fetch, after: int, limit: int) -> StepList:
    """Return one page of steps.

    Args:
        fetch: Returns entries after a sequence number, at most so many.
        after: Sequence number of the last entry of the page before; 0 at first.
        limit: Most items of the page.
    """
    reader = _Reader(fetch, position=max(0, after - READ_AT_ONCE))  # from where the first item's step began
    while len(reader.shown_after(after)) <= limit and await reader.read():
        pass
    shown = reader.shown_after(after)
    page = shown[:limit]
    if reader.is_any_open(page):
        await reader.read()
    return StepList(items=reader.answers(page), next=page[-1].seq if len(shown) > limit else None)


class _Reader:
    """Reads entries in order, and keeps what is shown and what is known of each step."""

    def __init__(self, fetch: Fetch, position: int) -> None:
        self._fetch = fetch
        self._position = position
        self._steps: dict[StepKey, _Step] = {}
        self._told: list[EntryRow] = []
        self._shown: list[EntryRow] = []

    async def read(self) -> bool:
        """Take the next entries; return False at the journal's end."""
        entries = await self._fetch(self._position, READ_AT_ONCE)
        for entry in entries:
            self._note(entry)
            self._position = entry.seq
        return bool(entries)

    def shown_after(self, seq: int) -> list[EntryRow]:
        """Return the entries that are items."""
        return [entry for entry in self._shown if entry.seq > seq]

    def is_any_open(self, page: list[EntryRow]) -> bool:
        """Return whether an item belongs to a step whose completion was not read."""
        return any(entry.step and not self._steps[_key(entry)].complete for entry in page)

    def answers(self, page: list[EntryRow]) -> list[StepAnswer]:
        """Return the items, each with what is known of its step."""
        return [_to_answer(entry, self._steps[_key(entry)]) for entry in page]

    def _note(self, entry: EntryRow) -> None:
        step = self._steps.setdefault(_key(entry), _Step())
        if entry.type is EntryType.STEP_START:
            step.started_at = step.started_at or entry.at
            step.new = step.new or [_to_news(told) for told in self._told if told.agent in {"", entry.agent}]
            self._told = [told for told in self._told if told.agent not in {"", entry.agent}]
        elif entry.type is EntryType.STEP_COMPLETE:
            step.complete = entry.body or {}
        elif entry.type in OF_STEPS:
            self._shown.append(entry)
        if entry.type in TOLD:
            self._told.append(entry)


def _key(entry: EntryRow) -> StepKey:
    return entry.round, entry.agent, entry.step


def _to_answer(entry: EntryRow, step: _Step) -> StepAnswer:
    body = entry.body or {}
    return StepAnswer(
        seq=entry.seq,
        number=entry.step or None,
        agent=entry.agent or None,
        epoch=entry.epoch or None,
        round=entry.round,
        type=entry.type,
        input=_input_of(entry.type, body, step),
        output=body.get("text", body.get("output", body.get("message"))),
        is_error=True if entry.type is EntryType.ERROR else body.get("isError"),
        code=body.get("code"),
        duration_milliseconds=body.get("durationMilliseconds", step.complete.get("durationMilliseconds")),
        input_tokens=step.complete.get("inputTokens"),
        output_tokens=step.complete.get("outputTokens"),
        cost_micro_usd=step.complete.get("costMicroUSD"),
        started_at=step.started_at or entry.at,
    )


def _input_of(kind: EntryType, body: dict[str, Any], step: _Step) -> dict[str, Any] | None:
    if kind in ANSWERS:
        return {"new": step.new} if step.new else None
    if kind not in {EntryType.TOOL_CALL, EntryType.TOOL_RESULT}:
        return None
    return {name: body[name] for name in ("callId", "name", "arguments") if name in body}


def _to_news(entry: EntryRow) -> dict[str, Any]:
    """Return what a model was told, in short; a message or result that was redacted has no text."""
    body = entry.body or {}
    text = body.get("content", body.get("output"))
    short = {} if text is None else {"text": cut(str(text), NEWS_CHARS)}
    return {"seq": entry.seq, "role": body.get("role", MessageRole.TOOL.value), **short}
