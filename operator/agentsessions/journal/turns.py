"""Pinned turns: what an agent is given to play, and how it closes it. Jobs of the writer.

- A turn is pinned once, and is the same for every epoch until a commit closes it.
- An error closes the epoch, not the turn: the next epoch plays it again. So does a call that waits for a person.
- An error that means a conversation too long is answered by another turn instead; see `compaction`.
- A final answer closes both, unless the session goes on: then the turn is closed as idle, and the epoch with it only
  when it has waited long enough for something to do. Of one agent among several it closes both as handoff, as long as
  others go on (`parts`, `handoffs`).
- A turn that passes the conversation on to an agent that shares the pod closes as handoff, and the epoch goes on: the
  next turn that the pod is given is the other one's.
- An epoch that finds its agent done is closed as final too, so that the operator hears of the end whichever pod it
  looks at.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from sqlalchemy import bindparam, select

from agentsessions.api.v1alpha1.team import Strategy
from agentsessions.api.wire import Commit, Outcome
from agentsessions.journal import (
    approvals,
    compaction,
    fences,
    handoffs,
    inbox,
    mailbox,
    next_turn,
    parts,
    prepared,
    replays,
    rounds,
    situations,
)
from agentsessions.journal.breaks import close_to_wait, close_with_error, who
from agentsessions.journal.charges import CallState, is_in
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.refusals import NothingToPlay, TurnMismatch
from agentsessions.journal.rows import Columns, CommitResult, Course, PinnedTurn, PodIdentity, TurnKind
from agentsessions.journal.situations import Situation
from agentsessions.journal.tables import entries, model_calls, tool_calls, turns
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.teams import Team

_SERVED: Final = Prepared(
    select(
        *(model_calls.c[name] for name in ("step", "duration_milliseconds", "input_tokens", "output_tokens")),
        *(model_calls.c[name] for name in ("cost_micro_usd", "estimated")),
    )
    .where(
        *(model_calls.c[name] == bindparam(name) for name in ("session_uid", "agent", "round", "k")),
        is_in(CallState.SETTLED),
        model_calls.c.served_epoch == bindparam("epoch"),
    )
    .order_by(model_calls.c.step.desc())
    .limit(1)
)
_TOOLS: Final = Prepared(
    select(tool_calls.c.output, tool_calls.c.duration_milliseconds).where(
        tool_calls.c.session_uid == bindparam("uid"),
        *(tool_calls.c[name] == bindparam(name) for name in ("agent", "round", "step")),
    )
)
_TEXT: Final = Prepared(
    select(entries.c.seq, entries.c.body).where(
        entries.c.session_uid == bindparam("uid"),
        *(entries.c[name] == bindparam(name) for name in ("agent", "round", "step")),
        entries.c.type == EntryType.OUTPUT.value,
    )
)
_CLOSED_OTHERWISE: Final = frozenset({
    (Outcome.IDLE, Outcome.FINAL),
    (Outcome.FINAL, Outcome.CONTINUE),
    (Outcome.HANDOFF, Outcome.FINAL),
    (Outcome.HANDOFF, Outcome.CONTINUE),
})  # fmt: skip
"""How turns are closed that the pod closes in another way: what goes on after a text, with this agent or another, and
a replay's last step."""
_LAST: Final = frozenset({Outcome.FINAL, Outcome.HANDOFF})
"""Outcomes of a turn that close its epoch too."""
_TASKED: Final = frozenset({Strategy.SEQUENTIAL, Strategy.PARALLEL})
Closed = Literal[Outcome.FINAL, Outcome.IDLE, Outcome.HANDOFF]


@dataclass(frozen=True, slots=True)
class Playing:
    """Where an agent is: k is 0 for programs that never ask for a turn."""

    round: int
    k: int
    is_text_only: bool = False
    """Whether its answer must be a text: it is to be a summary."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is to be played now."""

    round: int
    k: int
    seconds: float


def pin(work: Work, pod: PodIdentity, course: Course, *, may_begin: bool) -> PinnedTurn | Waiting | Closed:
    """Return the open turn, else pin what comes next, wait for it, or say how the epoch was closed.

    Of a pod that several agents share it is the turn of the one that has the conversation.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        NothingToPlay: The pod closed its epoch with an error.
        GoalMissing: There is nothing to answer yet.
    """
    found = situations.find(work, pod)
    epoch = fences.check_current(pod, found.epoch)
    player = parts.find_player(work.conn, pod, course.team)
    if player != pod:
        pod, found = player, situations.find(work, player)
    newest = found.turn
    if Outcome.FINAL in {epoch["outcome"], newest and newest["outcome"]}:
        if epoch["outcome"] is None:
            fences.close_epoch(work, pod, fences.Closing(Outcome.FINAL))
        return Outcome.FINAL
    if epoch["outcome"] == Outcome.IDLE:
        return Outcome.IDLE
    if epoch["outcome"] == Outcome.HANDOFF:
        return Outcome.HANDOFF
    fences.check_open(pod, found.epoch)
    if newest is not None and newest["outcome"] is None:
        return _to_pinned(newest)
    if course.team is not None and not parts.is_due(work.conn, pod):
        fences.close_epoch(work, pod, fences.Closing(Outcome.HANDOFF))
        return Outcome.HANDOFF
    return _go_on(work, pod, found, course, may_begin=may_begin)


def _go_on(
    work: Work, pod: PodIdentity, found: Situation, course: Course, *, may_begin: bool
) -> PinnedTurn | Waiting | Closed:
    """Pin what comes after the newest turn, wait for it, or close the epoch.

    Raises:
        GoalMissing: There is nothing to answer yet.
    """
    coming = next_turn.find_next(work, pod, found, course)
    if isinstance(coming, next_turn.Begin) and may_begin:
        return _pin_next(work, pod, found, coming, course)
    if coming is None or (may_begin and isinstance(coming, next_turn.Gap) and coming.closes):
        return _close_waiting(work, pod, found, course, Outcome.FINAL if coming is None else Outcome.IDLE)
    return _wait(work, found, coming, may_begin=may_begin)


def _pin_next(work: Work, pod: PodIdentity, found: Situation, begin: next_turn.Begin, course: Course) -> PinnedTurn:
    ledger = found.open_ledger(work)
    ledger.end_idle()
    if course.schedule is not None and begin.k == 1:
        rounds.begin(work, pod.session_uid, begin.round, course.schedule)
    if parts.listens(work.conn, pod, course.team):
        inbox.take(work, ledger, pod, begin.round, begin.k)
    if begin.replay is not None:
        replays.say(work, ledger, pod, begin.replay, begin.k)
    ledger.save()
    turn = PinnedTurn(pod.session_uid, pod.agent, begin.round, begin.k, ledger.head)
    prepared.add(
        work,
        turns,
        session_uid=pod.session_uid,
        agent=pod.agent,
        round=begin.round,
        k=begin.k,
        kind=turn.kind.value,
        history_seq=turn.history_seq,
        pinned_at=work.now,
    )
    return turn


def _wait(work: Work, found: Situation, coming: next_turn.Begin | next_turn.Gap, *, may_begin: bool) -> Waiting:
    """Count the time from now on as idle; a pod that may not begin is about to end, and no longer idle."""
    ledger = found.open_ledger(work)
    if may_begin:
        ledger.begin_idle()
    else:
        ledger.end_idle()
    ledger.save()
    left = coming.left if isinstance(coming, next_turn.Gap) else timedelta()
    return Waiting(coming.round, coming.k, left.total_seconds())


def _close_waiting(work: Work, pod: PodIdentity, found: Situation, course: Course, asked: Outcome) -> Closed:
    """Close an epoch that has nothing to play; with final the agent's newest turn becomes its last one."""
    newest = found.turn
    ledger = found.open_ledger(work)
    ledger.end_idle()
    outcome: Closed = Outcome.IDLE
    if asked is Outcome.FINAL:
        outcome = Outcome.FINAL if course.team is None else _end_part(work, ledger, pod, newest, course.team)
    ledger.save()
    if outcome is not Outcome.IDLE and newest is not None:
        prepared.change(work, turns, _key_of(pod, newest), outcome=outcome.value)
    fences.close_epoch(work, pod, fences.Closing(outcome))
    return outcome


def _end_part(
    work: Work, ledger: Ledger, pod: PodIdentity, newest: Any, team: Team
) -> Literal[Outcome.FINAL, Outcome.HANDOFF]:
    """End the part of one agent among several, with the text of its newest turn; return whether it was the last."""
    step = newest["answer_step"] if newest is not None else None
    text = None if step is None else _text_of(work, pod, Place(pod.agent, pod.epoch, newest["round"], step))
    if team.strategy in _TASKED:
        return parts.end_part(work, ledger, pod.agent, team, ledger.head if text is None else text["seq"])
    if team.strategy is Strategy.DIRECTOR and pod.agent != team.first:
        handoffs.answer_task(work, ledger, pod.agent, team, text["body"]["text"] if text and text["body"] else "")
        return Outcome.HANDOFF
    parts.settle_due(work, pod.session_uid, team, is_over=True)
    return Outcome.FINAL


def playing(pod: PodIdentity, found: Situation) -> Playing:
    """Return the agent's open turn.

    Raises:
        NothingToPlay: The agent plays turns, and none is open.
    """
    newest = found.turn
    if newest is None and not found.usage["has_parts"]:
        return Playing(1, 0)
    if newest is None or newest["outcome"] is not None:
        before = "no turn" if newest is None else f"turn {newest['k']}, which is closed, and no other"
        raise NothingToPlay(f"{who(pod)} was given {before}; ask for the next turn first")
    return Playing(newest["round"], newest["k"], is_text_only=newest["kind"] == TurnKind.COMPACT)


def commit(work: Work, pod: PodIdentity, asked: Commit, course: Course) -> CommitResult:
    """Close a turn. The same commit again changes nothing.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        TurnMismatch: It does not fit what the journal holds of the turn.
    """
    found = situations.find(work, pod)
    epoch = fences.check_current(pod, found.epoch)
    if asked.outcome is Outcome.IDLE:
        raise TurnMismatch(f"turn {asked.k} of {who(pod)} cannot be closed as idle by its pod; commit final")
    turn = situations.find_turn(
        work, found, {"session_uid": pod.session_uid, "agent": pod.agent, "round": asked.round, "k": asked.k}
    )
    if turn is None:
        raise TurnMismatch(f"turn {asked.k} of round {asked.round} of {who(pod)} was never pinned; ask for the turn")
    outcome: str = asked.outcome
    if turn["outcome"] is not None:
        is_known = (turn["outcome"], asked.outcome) in _CLOSED_OTHERWISE
        if not is_known and not compaction.is_closed_by(turn, asked.outcome):
            raise TurnMismatch(f"turn {asked.k} of {who(pod)} is closed as {turn['outcome']}, not as {asked.outcome}")
        outcome = turn["outcome"]
    elif asked.outcome is Outcome.WAITING:
        outcome = close_to_wait(work, pod, turn, epoch["outcome"])
    elif asked.outcome is Outcome.ERROR:
        outcome = close_with_error(work, pod, turn, asked, epoch["outcome"], course)
    elif epoch["outcome"] is not None:
        raise TurnMismatch(f"epoch {pod.epoch} of {who(pod)} is closed as {epoch['outcome']}; it commits no more")
    else:
        outcome = _close(work, pod, found, turn, asked.outcome, course)
    is_over = outcome in {*_LAST, Outcome.ERROR, Outcome.WAITING}
    if outcome == Outcome.HANDOFF:  # who shares the pod goes on in it
        is_over = fences.require_current(work, pod)["outcome"] is not None
    return CommitResult(asked.k, is_last=is_over)


def _close(work: Work, pod: PodIdentity, found: Situation, turn: Columns, asked: Outcome, course: Course) -> Outcome:
    answer = _answer_of(work, pod, turn)
    place = Place(pod.agent, pod.epoch, turn["round"], answer["step"])
    tools = _TOOLS.rows(work, uid=pod.session_uid, agent=pod.agent, round=place.round, step=place.step)
    _check_outcome(pod, turn["k"], asked, [tool["output"] for tool in tools])
    outcome, is_passed_on = compaction.outcome_of(turn["kind"], asked), False
    tool_milliseconds = sum(tool["duration_milliseconds"] or 0 for tool in tools)
    ledger = found.open_ledger(work)
    ledger.append(
        EntryType.STEP_COMPLETE, complete_body(answer, answer["duration_milliseconds"] + tool_milliseconds), place
    )
    ledger.count(turns=1)
    if outcome is Outcome.FINAL:
        outcome = _end_answer(work, pod, ledger, place, course)
    elif outcome is Outcome.CONTINUE and course.team is not None and course.team.strategy is Strategy.HANDOFF:
        is_passed_on = handoffs.pass_on(work, pod, course.team, place.step)  # which closes the epoch where it ends
        outcome = Outcome.HANDOFF if is_passed_on else outcome
    if (replay := replays.read(found.origin)) is not None:
        outcome = replays.close(ledger, pod, replay, turn, place, outcome, course.team)
    ledger.save()
    closed = {"outcome": outcome.value, "answer_step": answer["step"], "closed_seq": ledger.head, "closed_at": work.now}
    prepared.change(work, turns, _key_of(pod, turn), **closed)
    fences.count_turn(work, pod.session_uid, pod.host, pod.epoch)
    if found.has_questions:
        approvals.forget(work, pod, turn)
    if outcome in _LAST and not is_passed_on:
        fences.close_epoch(work, pod, fences.Closing(outcome))
    return outcome


def _end_answer(work: Work, pod: PodIdentity, ledger: Ledger, place: Place, course: Course) -> Outcome:
    """Note a round's result; return whether the text that was answered is the session's last."""
    text = _text_of(work, pod, place)
    if text is not None:
        ledger.mark_result(text["seq"])
    if course.schedule is not None and not inbox.count_queued(work, pod.session_uid):
        rounds.complete(work, ledger, place, text["body"]["text"] if text and text["body"] else None, course.schedule)
    outcome = _go_on_or_end(work, pod, ledger, place, course)
    if outcome is not Outcome.HANDOFF:
        mailbox.answer(work, pod.session_uid, text["body"]["text"] if text and text["body"] else None)
    return outcome


def _go_on_or_end(work: Work, pod: PodIdentity, ledger: Ledger, place: Place, course: Course) -> Outcome:
    if next_turn.has_more(work, pod, course):
        return Outcome.IDLE
    turn: Any = {"answer_step": place.step, "round": place.round}
    return Outcome.FINAL if course.team is None else _end_part(work, ledger, pod, turn, course.team)


def complete_body(call: Columns, duration_milliseconds: int) -> dict[str, Any]:
    """Return the body of a `step_complete` entry; a model without prices has no cost."""
    cost = {} if call["cost_micro_usd"] is None else {"costMicroUSD": call["cost_micro_usd"]}
    return {
        "durationMilliseconds": duration_milliseconds,
        "inputTokens": call["input_tokens"],
        "outputTokens": call["output_tokens"],
        **cost,
        "estimated": call["estimated"],
    }


def _check_outcome(pod: PodIdentity, k: int, outcome: Outcome, outputs: list[str | None]) -> None:
    if outcome is Outcome.FINAL and outputs:
        raise TurnMismatch(
            f"the answer of turn {k} of {who(pod)} asks for {len(outputs)} tool calls: it is not final; "
            "settle them and commit continue"
        )
    if outcome is Outcome.CONTINUE and not outputs:
        raise TurnMismatch(f"the answer of turn {k} of {who(pod)} asks for no tool: there is nothing to go on with")
    if outcome is Outcome.CONTINUE and None in outputs:
        raise TurnMismatch(
            f"{outputs.count(None)} of {len(outputs)} tool calls of turn {k} of {who(pod)} are not settled; "
            "settle them first"
        )


def _answer_of(work: Work, pod: PodIdentity, turn: Columns) -> Columns:
    """Return the purchase whose answer this epoch was given for the turn, the newest if there are several."""
    row = _SERVED.row(work, **_key_of(pod, turn), epoch=pod.epoch)
    if row is None:
        raise TurnMismatch(f"turn {turn['k']} of {who(pod)} has no model answer yet; ask the model first")
    return row


def _text_of(work: Work, pod: PodIdentity, place: Place) -> Columns | None:
    return _TEXT.row(work, uid=pod.session_uid, agent=place.agent, round=place.round, step=place.step)


def _key_of(pod: PodIdentity, turn: Columns) -> dict[str, Any]:
    return {"session_uid": pod.session_uid, "agent": pod.agent, "round": turn["round"], "k": turn["k"]}


def _to_pinned(row: Columns) -> PinnedTurn:
    key = (row["session_uid"], row["agent"], row["round"], row["k"])
    return PinnedTurn(*key, row["history_seq"], TurnKind(row["kind"]), row["cut_seq"])
