"""Pinned turns: what an agent is given to play, and how it closes it. Jobs of the writer.

- A turn is pinned once, and is the same for every epoch until a commit closes it.
- An error closes the epoch, not the turn: the next epoch plays it again.
- An error that means a conversation too long is answered by another turn instead; see `compaction`.
- A final answer closes both. An epoch that finds its agent done is closed as final too, so that the operator hears of
  the end whichever pod it looks at.
"""

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, bindparam, insert, select, update

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import Commit, Outcome
from agentsessions.journal import compaction, fences
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.refusals import GoalMissing, NothingToPlay, TurnMismatch
from agentsessions.journal.rows import CommitResult, PinnedTurn, PodIdentity, TurnKind
from agentsessions.journal.tables import entries, model_calls, tool_calls, turns
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.retry import Action, rule_of

_TURNS: Final = select(turns).where(turns.c.session_uid == bindparam("uid"), turns.c.agent == bindparam("agent"))
_NEWEST: Final = _TURNS.order_by(turns.c.round.desc(), turns.c.k.desc()).limit(1)
_NEWEST_OF_ROUND: Final = _NEWEST.where(turns.c.round == bindparam("round"))
_ERROR_CODES: Final = frozenset(code.value for code in ErrorCode)


@dataclass(frozen=True, slots=True)
class Playing:
    """Where an agent is: k is 0 for programs that never ask for a turn."""

    round: int
    k: int
    is_text_only: bool = False
    """Whether its answer must be a text: it is to be a summary."""


def pin(work: Work, pod: PodIdentity, round_: int) -> PinnedTurn | None:
    """Return the open turn, pinning the next one if none is open; None when the agent is done.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        NothingToPlay: The pod closed its epoch.
        GoalMissing: There is nothing to answer yet.
    """
    epoch = fences.require_current(work, pod)
    newest = _newest(work, pod, round_)
    if newest is not None and newest["outcome"] == Outcome.FINAL:
        if epoch["outcome"] is None:
            fences.close_epoch(work, pod, fences.Closing(Outcome.FINAL, result_seq=newest["result_seq"]))
        return None
    fences.require_open(work, pod)
    if newest is not None and newest["outcome"] is None:
        return _to_pinned(newest)
    return _pin_next(work, pod, round_, 1 if newest is None else newest["k"] + 1)


def _pin_next(work: Work, pod: PodIdentity, round_: int, k: int) -> PinnedTurn:
    ledger = Ledger(work, pod.session_uid)
    if not ledger.has_goal:
        raise GoalMissing(f"the goal message of {pod.namespace}/{pod.name} is not stored yet; set_goal_message first")
    turn = PinnedTurn(pod.session_uid, pod.agent, round_, k, ledger.head)
    work.conn.execute(
        insert(turns).values(
            session_uid=pod.session_uid,
            agent=pod.agent,
            round=round_,
            k=k,
            kind=turn.kind.value,
            history_seq=turn.history_seq,
            pinned_at=work.now,
        )
    )
    return turn


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


def commit(work: Work, pod: PodIdentity, asked: Commit) -> CommitResult:
    """Close a turn. The same commit again changes nothing.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        TurnMismatch: It does not fit what the journal holds of the turn.
    """
    epoch = fences.require_current(work, pod)
    turn = _newest(work, pod)
    if turn is not None and turn["k"] != asked.k:
        turn = _closed(work, pod, turn["round"], asked.k)
    if turn is None:
        raise TurnMismatch(f"turn {asked.k} of {_who(pod)} was never pinned; ask for the turn")
    if turn["outcome"] is not None:
        if not compaction.is_closed_by(turn, asked.outcome):
            raise TurnMismatch(f"turn {asked.k} of {_who(pod)} is closed as {turn['outcome']}, not as {asked.outcome}")
        outcome = turn["outcome"]
    elif asked.outcome is Outcome.ERROR:
        outcome = _close_with_error(work, pod, turn, asked, epoch["outcome"])
    elif epoch["outcome"] is not None:
        raise TurnMismatch(f"epoch {pod.epoch} of {_who(pod)} is closed as {epoch['outcome']}; it commits no more")
    else:
        outcome = _close(work, pod, turn, asked.outcome)
    return CommitResult(asked.k, is_last=outcome not in {Outcome.CONTINUE, compaction.COMPACTED})


def _close(work: Work, pod: PodIdentity, turn: RowMapping, asked: Outcome) -> Outcome:
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
    ledger.save()
    result_seq = _result_seq(work, pod, place) if outcome is Outcome.FINAL else None
    work.conn.execute(
        update(turns)
        .where(
            turns.c.session_uid == pod.session_uid,
            turns.c.agent == pod.agent,
            turns.c.round == turn["round"],
            turns.c.k == turn["k"],
        )
        .values(
            outcome=outcome.value,
            answer_step=answer["step"],
            result_seq=result_seq,
            closed_seq=ledger.head,
            closed_at=work.now,
        )
    )
    fences.count_turn(work, pod)
    if outcome is Outcome.FINAL:
        fences.close_epoch(work, pod, fences.Closing(outcome, result_seq=result_seq))
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


def _close_with_error(work: Work, pod: PodIdentity, turn: RowMapping, asked: Commit, closed_as: str | None) -> str:
    """Close the epoch, or the turn alone when a shorter conversation may help; return how."""
    if closed_as == Outcome.ERROR:
        return Outcome.ERROR
    if closed_as is not None:
        raise TurnMismatch(f"epoch {pod.epoch} of {_who(pod)} is closed as {closed_as}, not as error")
    closing = _recorded_error(work, pod, turn)
    if closing is not None and rule_of(closing.code or "").action is Action.COMPACT and compaction.begin(work, turn):
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


def _result_seq(work: Work, pod: PodIdentity, place: Place) -> int | None:
    seq: int | None = work.conn.scalar(
        select(entries.c.seq).where(
            entries.c.session_uid == pod.session_uid,
            entries.c.round == place.round,
            entries.c.agent == place.agent,
            entries.c.step == place.step,
            entries.c.type == EntryType.OUTPUT,
        )
    )
    return seq


def _newest(work: Work, pod: PodIdentity, round_: int | None = None) -> RowMapping | None:
    query = _NEWEST if round_ is None else _NEWEST_OF_ROUND
    asked: dict[str, Any] = {"uid": pod.session_uid, "agent": pod.agent}
    if round_ is not None:
        asked["round"] = round_
    return work.conn.execute(query, asked).mappings().one_or_none()


def _closed(work: Work, pod: PodIdentity, round_: int, k: int) -> RowMapping | None:
    query = _TURNS.where(turns.c.round == round_, turns.c.k == k)
    return work.conn.execute(query, {"uid": pod.session_uid, "agent": pod.agent}).mappings().one_or_none()


def _to_pinned(row: RowMapping) -> PinnedTurn:
    key = (row["session_uid"], row["agent"], row["round"], row["k"])
    return PinnedTurn(*key, row["history_seq"], TurnKind(row["kind"]), row["cut_seq"])


def _who(pod: PodIdentity) -> str:
    return f"agent {pod.agent} of {pod.namespace}/{pod.name}"
