"""Pinned turns: what an agent is given to play, and how it closes it. Jobs of the writer.

- A turn is pinned once, and is the same for every epoch until a commit closes it.
- An error closes the epoch, not the turn: the next epoch plays it again.
- An error that means a conversation too long is answered by another turn instead; see `compaction`.
- A final answer closes both, unless the session goes on: then the turn is closed as idle, and the epoch with it only
  when it has waited long enough for something to do.
- An epoch that finds its agent done is closed as final too, so that the operator hears of the end whichever pod it
  looks at.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal

from sqlalchemy import RowMapping, bindparam, insert, select, update

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import Commit, Outcome
from agentsessions.journal import compaction, fences, inbox, mailbox, next_turn, rounds
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.refusals import NothingToPlay, TurnMismatch
from agentsessions.journal.rows import CommitResult, Course, PinnedTurn, PodIdentity, TurnKind
from agentsessions.journal.tables import entries, model_calls, tool_calls, turns
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.retry import Action, rule_of

_TURNS: Final = select(turns).where(turns.c.session_uid == bindparam("uid"), turns.c.agent == bindparam("agent"))
_NEWEST: Final = _TURNS.order_by(turns.c.round.desc(), turns.c.k.desc()).limit(1)
_ERROR_CODES: Final = frozenset(code.value for code in ErrorCode)


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


def pin(
    work: Work, pod: PodIdentity, course: Course, *, may_begin: bool
) -> PinnedTurn | Waiting | Literal[Outcome.FINAL, Outcome.IDLE]:
    """Return the open turn, else pin what comes next, wait for it, or say how the epoch was closed.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        NothingToPlay: The pod closed its epoch with an error.
        GoalMissing: There is nothing to answer yet.
    """
    epoch = fences.require_current(work, pod)
    newest = _newest(work, pod)
    if Outcome.FINAL in {epoch["outcome"], newest and newest["outcome"]}:
        if epoch["outcome"] is None:
            fences.close_epoch(work, pod, fences.Closing(Outcome.FINAL))
        return Outcome.FINAL
    if epoch["outcome"] == Outcome.IDLE:
        return Outcome.IDLE
    fences.require_open(work, pod)
    if newest is not None and newest["outcome"] is None:
        return _to_pinned(newest)
    found = next_turn.find_next(work, pod, newest, course, fenced_at=epoch["fenced_at"])
    if isinstance(found, next_turn.Begin) and may_begin:
        return _pin_next(work, pod, found, course)
    if found is None or (may_begin and isinstance(found, next_turn.Gap) and found.closes):
        return _close_waiting(work, pod, newest, Outcome.FINAL if found is None else Outcome.IDLE)
    return _wait(work, pod, found, may_begin=may_begin)


def _pin_next(work: Work, pod: PodIdentity, begin: next_turn.Begin, course: Course) -> PinnedTurn:
    ledger = Ledger(work, pod.session_uid)
    ledger.end_idle()
    if course.schedule is not None and begin.k == 1:
        rounds.begin(work, pod.session_uid, begin.round, course.schedule)
    inbox.take(work, ledger, pod, begin.round, begin.k)
    ledger.save()
    turn = PinnedTurn(pod.session_uid, pod.agent, begin.round, begin.k, ledger.head)
    work.conn.execute(
        insert(turns).values(
            session_uid=pod.session_uid,
            agent=pod.agent,
            round=begin.round,
            k=begin.k,
            kind=turn.kind.value,
            history_seq=turn.history_seq,
            pinned_at=work.now,
        )
    )
    return turn


def _wait(work: Work, pod: PodIdentity, found: next_turn.Begin | next_turn.Gap, *, may_begin: bool) -> Waiting:
    """Count the time from now on as idle; a pod that may not begin is about to end, and no longer idle."""
    ledger = Ledger(work, pod.session_uid)
    if may_begin:
        ledger.begin_idle()
    else:
        ledger.end_idle()
    ledger.save()
    left = found.left if isinstance(found, next_turn.Gap) else timedelta()
    return Waiting(found.round, found.k, left.total_seconds())


def _close_waiting(
    work: Work, pod: PodIdentity, newest: RowMapping | None, outcome: Literal[Outcome.FINAL, Outcome.IDLE]
) -> Literal[Outcome.FINAL, Outcome.IDLE]:
    """Close an epoch that has nothing to play; with final the agent's newest turn becomes its last one."""
    ledger = Ledger(work, pod.session_uid)
    ledger.end_idle()
    ledger.save()
    if outcome is Outcome.FINAL and newest is not None:
        work.conn.execute(_row_of(pod, newest).values(outcome=outcome.value))
    fences.close_epoch(work, pod, fences.Closing(outcome))
    return outcome


def playing(work: Work, pod: PodIdentity) -> Playing:
    """Return the agent's open turn.

    Raises:
        NothingToPlay: The agent plays turns, and none is open.
    """
    newest = _newest(work, pod)
    if newest is None:
        return Playing(1, 0)
    if newest["outcome"] is not None:
        raise NothingToPlay(
            f"turn {newest['k']} of agent {pod.agent} of {pod.namespace}/{pod.name} is closed and no other is pinned; "
            "ask for the next turn first"
        )
    return Playing(newest["round"], newest["k"], is_text_only=newest["kind"] == TurnKind.COMPACT)


def commit(work: Work, pod: PodIdentity, asked: Commit, course: Course) -> CommitResult:
    """Close a turn. The same commit again changes nothing.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        TurnMismatch: It does not fit what the journal holds of the turn.
    """
    epoch = fences.require_current(work, pod)
    if asked.outcome is Outcome.IDLE:
        raise TurnMismatch(f"turn {asked.k} of {_who(pod)} cannot be closed as idle by its pod; commit final")
    turn = _find(work, pod, asked.round, asked.k)
    if turn is None:
        raise TurnMismatch(f"turn {asked.k} of round {asked.round} of {_who(pod)} was never pinned; ask for the turn")
    outcome: str = asked.outcome
    if turn["outcome"] is not None:
        is_idle = (turn["outcome"], asked.outcome) == (Outcome.IDLE, Outcome.FINAL)
        if not is_idle and not compaction.is_closed_by(turn, asked.outcome):
            raise TurnMismatch(f"turn {asked.k} of {_who(pod)} is closed as {turn['outcome']}, not as {asked.outcome}")
        outcome = turn["outcome"]
    elif asked.outcome is Outcome.ERROR:
        outcome = _close_with_error(work, pod, turn, asked, epoch["outcome"], course)
    elif epoch["outcome"] is not None:
        raise TurnMismatch(f"epoch {pod.epoch} of {_who(pod)} is closed as {epoch['outcome']}; it commits no more")
    else:
        outcome = _close(work, pod, turn, asked.outcome, course)
    return CommitResult(asked.k, is_last=outcome in {Outcome.FINAL, Outcome.ERROR})


def _close(work: Work, pod: PodIdentity, turn: RowMapping, asked: Outcome, course: Course) -> Outcome:
    answer = _answer_of(work, pod, turn)
    place = Place(pod.agent, pod.epoch, turn["round"], answer["step"])
    tools = work.conn.execute(_tools_of(place, pod)).all()
    _check_outcome(pod, turn["k"], asked, [tool.output for tool in tools])
    outcome = compaction.outcome_of(turn["kind"], asked)
    tool_milliseconds = sum(tool.duration_milliseconds or 0 for tool in tools)
    ledger = Ledger(work, pod.session_uid)
    ledger.append(
        EntryType.STEP_COMPLETE, complete_body(answer, answer["duration_milliseconds"] + tool_milliseconds), place
    )
    ledger.count(turns=1)
    if outcome is Outcome.FINAL:
        outcome = _end_answer(work, pod, ledger, place, course)
    ledger.save()
    work.conn.execute(
        _row_of(pod, turn).values(
            outcome=outcome.value, answer_step=answer["step"], closed_seq=ledger.head, closed_at=work.now
        )
    )
    fences.count_turn(work, pod)
    if outcome is Outcome.FINAL:
        fences.close_epoch(work, pod, fences.Closing(outcome))
    return outcome


def _end_answer(work: Work, pod: PodIdentity, ledger: Ledger, place: Place, course: Course) -> Outcome:
    """Note a round's result; return whether the text that was answered is the session's last."""
    text = _text_of(work, pod, place)
    if text is not None:
        ledger.mark_result(text.seq)
    if course.schedule is not None and not inbox.count_queued(work.conn, pod.session_uid):
        rounds.complete(work, ledger, place, text.body["text"] if text and text.body else None, course.schedule)
    outcome = Outcome.IDLE if next_turn.has_more(work, pod, course) else Outcome.FINAL
    mailbox.answer(work, pod.session_uid, text.body["text"] if text and text.body else None)
    return outcome


def complete_body(call: RowMapping, duration_milliseconds: int) -> dict[str, Any]:
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
            f"the answer of turn {k} of {_who(pod)} asks for {len(outputs)} tool calls: it is not final; "
            "settle them and commit continue"
        )
    if outcome is Outcome.CONTINUE and not outputs:
        raise TurnMismatch(f"the answer of turn {k} of {_who(pod)} asks for no tool: there is nothing to go on with")
    if outcome is Outcome.CONTINUE and None in outputs:
        raise TurnMismatch(
            f"{outputs.count(None)} of {len(outputs)} tool calls of turn {k} of {_who(pod)} are not settled; "
            "settle them first"
        )


def _close_with_error(
    work: Work, pod: PodIdentity, turn: RowMapping, asked: Commit, closed_as: str | None, course: Course
) -> str:
    """Close the epoch, or the turn alone when a shorter conversation may help; return how."""
    if closed_as == Outcome.ERROR:
        return Outcome.ERROR
    if closed_as is not None:
        raise TurnMismatch(f"epoch {pod.epoch} of {_who(pod)} is closed as {closed_as}, not as error")
    closing = _recorded_error(work, pod, turn)
    is_too_long = closing is not None and rule_of(closing.code or "").action is Action.COMPACT
    if is_too_long and compaction.begin(work, turn, course.max_history):
        return compaction.COMPACTED
    if closing is None:
        code = asked.error.code if asked.error else ErrorCode.RUNNER_ERROR
        message = asked.error.message if asked.error else "the runner gave no reason"
        ledger = Ledger(work, pod.session_uid)
        ledger.append(
            EntryType.ERROR, {"code": code.value, "message": message}, Place(pod.agent, pod.epoch, turn["round"])
        )
        ledger.save()
        closing = fences.Closing(Outcome.ERROR, code.value, message)
    fences.close_epoch(work, pod, closing)
    return Outcome.ERROR


def _recorded_error(work: Work, pod: PodIdentity, turn: RowMapping) -> fences.Closing | None:
    """Return what the gateway itself saw fail last in this epoch's turn: it beats the runner's claim."""
    row = work.conn.execute(
        select(model_calls.c.state, model_calls.c.error_code, model_calls.c.error_message, model_calls.c.retry_at)
        .where(*_calls_of(pod, turn), model_calls.c.epoch == pod.epoch)
        .order_by(model_calls.c.step.desc())
        .limit(1)
    ).one_or_none()
    if row is None or row.state != "failed" or row.error_code not in _ERROR_CODES:
        return None
    return fences.Closing(Outcome.ERROR, row.error_code, row.error_message, retry_at=row.retry_at)


def _answer_of(work: Work, pod: PodIdentity, turn: RowMapping) -> RowMapping:
    """Return the purchase whose answer this epoch was given for the turn, the newest if there are several."""
    row = (
        work.conn.execute(
            select(model_calls)
            .where(
                *_calls_of(pod, turn),
                model_calls.c.state == "settled",
                model_calls.c.served_epoch == pod.epoch,
            )
            .order_by(model_calls.c.step.desc())
            .limit(1)
        )
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise TurnMismatch(f"turn {turn['k']} of {_who(pod)} has no model answer yet; ask the model first")
    return row


def _calls_of(pod: PodIdentity, turn: RowMapping) -> tuple[Any, ...]:
    return (
        model_calls.c.session_uid == pod.session_uid,
        model_calls.c.agent == pod.agent,
        model_calls.c.round == turn["round"],
        model_calls.c.k == turn["k"],
    )


def _tools_of(place: Place, pod: PodIdentity) -> Any:
    return select(tool_calls.c.output, tool_calls.c.duration_milliseconds).where(
        tool_calls.c.session_uid == pod.session_uid,
        tool_calls.c.agent == pod.agent,
        tool_calls.c.round == place.round,
        tool_calls.c.step == place.step,
    )


def _text_of(work: Work, pod: PodIdentity, place: Place) -> Any:
    query = select(entries.c.seq, entries.c.body).where(
        entries.c.session_uid == pod.session_uid,
        entries.c.round == place.round,
        entries.c.agent == place.agent,
        entries.c.step == place.step,
        entries.c.type == EntryType.OUTPUT,
    )
    return work.conn.execute(query).one_or_none()


def _row_of(pod: PodIdentity, turn: RowMapping) -> Any:
    return update(turns).where(
        turns.c.session_uid == pod.session_uid,
        turns.c.agent == pod.agent,
        turns.c.round == turn["round"],
        turns.c.k == turn["k"],
    )


def _newest(work: Work, pod: PodIdentity) -> RowMapping | None:
    return work.conn.execute(_NEWEST, {"uid": pod.session_uid, "agent": pod.agent}).mappings().one_or_none()


def _find(work: Work, pod: PodIdentity, round_: int, k: int) -> RowMapping | None:
    query = _TURNS.where(turns.c.round == round_, turns.c.k == k)
    return work.conn.execute(query, {"uid": pod.session_uid, "agent": pod.agent}).mappings().one_or_none()


def _to_pinned(row: RowMapping) -> PinnedTurn:
    key = (row["session_uid"], row["agent"], row["round"], row["k"])
    return PinnedTurn(*key, row["history_seq"], TurnKind(row["kind"]), row["cut_seq"])


def _who(pod: PodIdentity) -> str:
    return f"agent {pod.agent} of {pod.namespace}/{pod.name}"
