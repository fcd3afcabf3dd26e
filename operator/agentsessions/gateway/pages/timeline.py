"""Entries of the journal as people read them: what was said, and steps with their tools. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from agentsessions.journal.entries import EntryRow, EntryType
from agentsessions.journal.tail import number

StepKey = tuple[int, str, int]
"""Round, agent, step."""
Body = Mapping[str, Any]

REDACTED: Final = "(removed)"
"""Stands where content was redacted."""
IN_STEPS: Final = frozenset(
    {
        EntryType.STEP_START,
        EntryType.THINKING,
        EntryType.TOOL_CALL,
        EntryType.TOOL_RESULT,
        EntryType.OUTPUT,
        EntryType.COMPACTION,
        EntryType.STEP_COMPLETE,
    }
)


@dataclass(slots=True)
class ToolUse:
    """A tool call, and its result once there is one."""

    call_id: str
    name: str
    arguments: str
    output: str | None = None
    is_error: bool = False
    milliseconds: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What a step took."""

    tokens: int
    milliseconds: int


@dataclass(slots=True)
class Step:
    """One answer of a model, with what came of it."""

    key: StepKey
    first_seq: int
    last_seq: int
    started_at: datetime
    thinking: list[str] = field(default_factory=list)
    tools: list[ToolUse] = field(default_factory=list)
    output: str | None = None
    summary: str | None = None
    """Of older steps, when it was made to shorten the conversation."""
    errors: list[str] = field(default_factory=list)
    model: str = ""
    spent: Spent | None = None
    """What it took, once it is complete."""

    kind = "step"

    @property
    def agent(self) -> str:
        """Who it is of."""
        return self.key[1]

    @property
    def id(self) -> str:
        """Id in the page; the same for every state of the step."""
        round_, agent, number = self.key
        return f"step-{round_}-{agent}-{number}"

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.spent is None and not self.errors


@dataclass(frozen=True, slots=True)
class Note:
    """What stands for itself: a message, a change of phase, an error outside of steps, a round's end."""

    kind: str
    last_seq: int
    at: datetime
    agent: str
    title: str
    text: str
    actor: str = ""
    """Who sent it, of a message."""

    @property
    def id(self) -> str:
        """Id in the page."""
        return f"entry-{self.last_seq}"


Block = Step | Note


def build_timeline(entries: Iterable[EntryRow]) -> list[Block]:
    """Return the blocks of a run of entries, in the order in which they began.

    A run may begin in the middle of a step: then the step holds what is in the run.
    """
    blocks: list[Block] = []
    steps: dict[StepKey, Step] = {}
    for entry in entries:
        if entry.step and (entry.type in IN_STEPS or entry.type is EntryType.ERROR):
            key = (entry.round, entry.agent, entry.step)
            step = steps.get(key)
            if step is None:
                step = steps[key] = Step(key, entry.seq, entry.seq, entry.at)
                blocks.append(step)
            _add(step, entry)
        elif (note := to_note(entry)) is not None:
            blocks.append(note)
    return blocks


def _add(step: Step, entry: EntryRow) -> None:
    step.last_seq = entry.seq
    body: Body = entry.body or {}
    match entry.type:
        case EntryType.STEP_START:
            step.started_at, step.model = entry.at, body.get("model", "")
        case EntryType.THINKING:
            step.thinking.append(_text(entry, "text"))
        case EntryType.OUTPUT:
            step.output = _text(entry, "text")
        case EntryType.COMPACTION:
            step.summary = _text(entry, "text")
        case EntryType.TOOL_CALL:
            call = ToolUse(body.get("callId", ""), body.get("name", ""), to_words(_text(entry, "arguments")))
            step.tools.append(call)
        case EntryType.TOOL_RESULT:
            _settle(step, entry)
        case EntryType.STEP_COMPLETE:
            step.spent = Spent(
                number(body, "inputTokens") + number(body, "outputTokens"), number(body, "durationMilliseconds")
            )
        case EntryType.ERROR:
            step.errors.append(_text(entry, "message"))
        case _:
            pass


def to_words(arguments: str) -> str:
    """Return the arguments of a call as people read them: a command as it is typed, several by their names."""
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    if not isinstance(found, dict) or not found:
        return arguments
    words = {name: one if isinstance(one, str) else orjson.dumps(one).decode() for name, one in found.items()}
    return next(iter(words.values())) if len(words) == 1 else "\n".join(f"{name}: {one}" for name, one in words.items())


def _settle(step: Step, entry: EntryRow) -> None:
    body: Body = entry.body or {}
    call_id = body.get("callId", "")
    tool = next((one for one in step.tools if one.call_id == call_id), None)
    if tool is None:  # the run began behind its call
        tool = ToolUse(call_id, body.get("name", ""), "")
        step.tools.append(tool)
    tool.output = _text(entry, "output")
    tool.is_error = bool(body.get("isError"))
    tool.milliseconds = number(body, "durationMilliseconds")


def to_note(entry: EntryRow) -> Note | None:
    """Return what an entry says outside of steps; None for what only programs need."""
    body: Body = entry.body or {}
    match entry.type:
        case EntryType.MESSAGE:
            # What has no sender is of the session itself: an agent's work, handed to the next one.
            title = f"to {entry.agent}" if entry.agent and "actor" not in body else body.get("role", "user")
            text = _text(entry, "content")
        case EntryType.STATE:
            reason = body.get("reason", "")
            phase = body.get("phase", "")
            title, text = phase + (f" · {reason}" if reason and reason != phase else ""), _text(entry, "message")
        case EntryType.ERROR:
            title, text = body.get("code", "error"), _text(entry, "message")
        case EntryType.ROUND_COMPLETE:
            title, text = f"round {entry.round} complete", str(body.get("result") or body.get("text") or "")
        case EntryType.EDITED | EntryType.REDACTED:
            title, text = f"content {entry.type.value}", f"by {body.get('actor') or 'somebody'}"
        case _:
            told = _told_of_more(entry, body)
            if told is None:
                return None
            title, text = told
    actor = str(body.get("actor") or "") if entry.type is EntryType.MESSAGE else ""
    return Note(entry.type.value, entry.seq, entry.at, entry.agent, title, text, actor)


def _told_of_more(entry: EntryRow, body: Body) -> tuple[str, str] | None:
    """Return what not every session has: rules, people who decide, other sessions that it is made from."""
    match entry.type:
        case EntryType.POLICY_DECISION:
            trial = ", dry run" if body.get("dryRun") else ""
            text = f"{body.get('name', 'a call')}, rule {body.get('rule', '')}: {_text(entry, 'message')}"
            return f"policy {body.get('policy', '')}: {body.get('action', '')}{trial}", text
        case EntryType.APPROVAL:
            return _told_of_approval(entry, body)
        case EntryType.SOURCE:
            return f"made from {body.get('name', 'another session')}", f"{body.get('steps') or 0} steps of it"
        case EntryType.DIFFERENCE:
            return "differs", _text(entry, "text")
        case EntryType.REPLAY_COMPLETE:
            return "replay complete", _text(entry, "text")
    return None


def _told_of_approval(entry: EntryRow, body: Body) -> tuple[str, str]:
    """Return what is asked of a person, or what people said."""
    if body.get("outcome") == "Pending":
        return "waits for a person", _text(entry, "message")
    by = ", ".join(map(str, body.get("by") or ())) or "nobody in time"
    return f"{body.get('outcome', 'decided')} by {by}", _text(entry, "reason")


def is_said(block: Block) -> bool:
    """Return whether a block is part of the conversation: what was said to the session, and its answers."""
    if isinstance(block, Note):
        return block.kind == EntryType.MESSAGE.value
    return block.output is not None or block.is_open


def lanes_of(known: Iterable[str], blocks: Iterable[Block]) -> dict[str, int]:
    """Return a number for each agent: first those that are known, then others in the order in which they appear."""
    names = dict.fromkeys([*known, *(block.agent for block in blocks if block.agent)])
    return {name: number for number, name in enumerate(names)}


def _text(entry: EntryRow, name: str) -> str:
    if entry.body is None:
        return REDACTED
    return str(entry.body.get(name) or "")
