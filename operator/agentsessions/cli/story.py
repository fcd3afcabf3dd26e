"""What a session did, told as a story: grouped by step, with what was said and done, not a dump of events."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentsessions.api.reasons import Phase
from agentsessions.cli.terminal import PHASE_STYLES, clean, count, money, one_line
from agentsessions.client.values import Event

Print = Callable[[str, str | None], None]
INDENT: Final = "  "
RESULT_LINES: Final = 12
RESULT_WIDTH: Final = 400
ARGUMENT_WIDTH: Final = 200


@dataclass(slots=True)
class Story:
    """Tells events as they come."""

    print: Print
    """Prints a line in a style."""
    is_full: bool = False
    """Whether long results are printed whole."""
    with_times: bool = False
    _step: tuple[str | None, int, int | None] | None = None

    def tell(self, event: Event) -> None:
        """Tell one event; what people need not know is left out."""
        teller = TELLERS.get(event.type)
        if teller is None:
            return
        if event.step and (event.agent, event.round, event.step) != self._step:
            self._step = event.agent, event.round, event.step
            turn = f"step {event.step}" if event.round == 1 else f"round {event.round}, step {event.step}"
            self._line(f"── {turn} · {event.agent}", "bold", event.at)
        teller(self, event)

    def _line(self, text: str, style: str | None = None, at: datetime | None = None) -> None:
        stamp = f"{at.astimezone():%H:%M:%S} " if self.with_times and at is not None else ""
        self.print(stamp + clean(text), style)

    def _block(self, mark: str, text: str, style: str | None, *, is_whole: bool) -> None:
        lines = clean(text).rstrip("\n").split("\n")
        shown = lines if self.is_full or is_whole else lines[:RESULT_LINES]
        for number, line in enumerate(shown):
            cut = line if self.is_full or is_whole or len(line) <= RESULT_WIDTH else f"{line[:RESULT_WIDTH]}…"
            self.print(f"{INDENT}{mark if number == 0 else ' ' * len(mark)}{cut}", style)
        if len(shown) < len(lines):
            self.print(f"{INDENT}{' ' * len(mark)}… {len(lines) - len(shown)} more lines (--full shows them)", "dim")

    def start(self, event: Event) -> None:
        """The session began."""
        agents = ", ".join(map(str, event.body.get("agents") or ()))
        self._line(f"session begins with {agents or 'one agent'}", "dim", event.at)

    def source(self, event: Event) -> None:
        """It was made from another session."""
        name, steps = one_line(str(event.body.get("name", ""))), event.body.get("steps") or 0
        what = "does again what" if "replay" in event.body else "begins with what"
        self._line(f"{what} {name} did in {count(steps, 'step')}" if steps else f"made from {name}", "dim", event.at)

    def message(self, event: Event) -> None:
        """Somebody said something."""
        who = str(event.body.get("actor") or event.body.get("role") or "user")
        if event.agent and "actor" not in event.body:  # by another agent of the session
            who = f"to {event.agent}"
        self._block(f"{one_line(who)}: ", event.text, "cyan", is_whole=True)

    def thinking(self, event: Event) -> None:
        """The agent thought."""
        self._block("thinks ", event.text, "dim", is_whole=False)

    def call(self, event: Event) -> None:
        """The agent called a tool."""
        arguments = event.body.get("arguments") or ""
        shown = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        shown = shown if self.is_full or len(shown) <= ARGUMENT_WIDTH else f"{shown[:ARGUMENT_WIDTH]}…"
        self._block("calls  ", f"{event.body.get('name', 'a tool')} {one_line(shown)}", "yellow", is_whole=True)

    def result(self, event: Event) -> None:
        """The tool answered."""
        is_error = bool(event.body.get("isError"))
        self._block("fails  " if is_error else "gets   ", event.text, "red" if is_error else None, is_whole=False)

    def output(self, event: Event) -> None:
        """The agent said something."""
        self._block("says   ", event.text, "bold", is_whole=True)

    def complete(self, event: Event) -> None:
        """A step was committed."""
        tokens = (event.body.get("inputTokens") or 0) + (event.body.get("outputTokens") or 0)
        seconds = (event.body.get("durationMilliseconds") or 0) / 1000
        cost = money(event.body.get("costMicroUSD"))
        self._line(f"{INDENT}{seconds:.1f} s, {tokens} tokens{f', {cost}' if cost else ''}", "dim")

    def error(self, event: Event) -> None:
        """Something failed."""
        self._line(f"{INDENT}error  {event.body.get('code', '')}: {event.text}", "red", event.at)

    def state(self, event: Event) -> None:
        """The session went to another phase."""
        phase, reason = str(event.body.get("phase", "")), str(event.body.get("reason") or "")
        why = one_line(str(event.body.get("message") or ""))
        self._line(
            f"{phase}{f' ({reason})' if reason and reason != phase else ''}{f': {why}' if why else ''}",
            PHASE_STYLES.get(Phase(phase)) if phase in set(Phase) else None,
            event.at,
        )

    def policy(self, event: Event) -> None:
        """A rule said something to a call."""
        body = event.body
        trial = ", dry run" if body.get("dryRun") else ""
        rule = f"rule {body.get('rule')} of AgentPolicy {body.get('policy')}"
        why = one_line(str(body.get("message") or ""))
        style = None if body.get("action") == "Allow" else "yellow"
        self._line(f"{INDENT}policy {body.get('action')}: {rule}{trial}{f': {why}' if why else ''}", style, event.at)

    def approval(self, event: Event) -> None:
        """A call waits for a person, or was decided."""
        body = event.body
        if body.get("outcome") == "Pending":
            why = one_line(str(body.get("message") or ""))
            self._line(f"{INDENT}waits for a person: {why}", "bold magenta", event.at)
            return
        by = ", ".join(one_line(str(who)) for who in body.get("by") or ()) or "nobody in time"
        reason = one_line(str(body.get("reason") or ""))
        self._line(f"{INDENT}{body.get('outcome')} by {by}{f': {reason}' if reason else ''}", "magenta", event.at)

    def gap(self, event: Event) -> None:
        """Entries are missing."""
        self._line(f"entries after {event.body.get('after')} up to {event.body.get('before')} are missing", "red")

    def compaction(self, event: Event) -> None:
        """The conversation was shortened."""
        self._line(f"{INDENT}older messages were summarised", "dim", event.at)

    def edited(self, event: Event) -> None:
        """Somebody changed what a message says."""
        self._line(f"{INDENT}{_actor(event)} changed entry {_numbers(event)}", "dim", event.at)

    def redacted(self, event: Event) -> None:
        """Somebody took content out."""
        self._line(f"{INDENT}{_actor(event)} took out what entry {_numbers(event)} said", "dim", event.at)

    def difference(self, event: Event) -> None:
        """A step of a replay did something else."""
        self._block("differs ", event.text, "yellow", is_whole=True)

    def replayed(self, event: Event) -> None:
        """The replay is over."""
        self._block("", event.text, "bold", is_whole=True)

    def round(self, event: Event) -> None:
        """A round of the goal ended."""
        self._line(f"round {event.body.get('round', event.round)} is complete", "bold", event.at)

    def done(self, event: Event) -> None:
        """The session is over."""
        usage = event.body.get("usage") or {}
        cost = money(usage.get("costMicroUSD"))
        spent = f"{count(usage.get('steps', 0), 'step')}, {usage.get('totalTokens', 0)} tokens"
        self._line(f"in all {spent}{f', {cost}' if cost else ''}", "dim")


TELLERS: Final[dict[str, Callable[[Story, Event], None]]] = {
    "source": Story.source,
    "session_start": Story.start,
    "message": Story.message,
    "thinking": Story.thinking,
    "tool_call": Story.call,
    "tool_result": Story.result,
    "output": Story.output,
    "step_complete": Story.complete,
    "compaction": Story.compaction,
    "edited": Story.edited,
    "redacted": Story.redacted,
    "error": Story.error,
    "policy_decision": Story.policy,
    "approval": Story.approval,
    "state": Story.state,
    "round_complete": Story.round,
    "difference": Story.difference,
    "replay_complete": Story.replayed,
    "gap": Story.gap,
    "done": Story.done,
}


def _actor(event: Event) -> str:
    return one_line(str(event.body.get("actor") or "somebody"))


def _numbers(event: Event) -> str:
    return ", ".join(str(seq) for seq in event.body.get("seqs") or ())
