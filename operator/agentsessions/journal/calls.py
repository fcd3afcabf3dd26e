"""Model calls: reserved before they are bought, settled or failed after. Jobs of the writer.

A row stands for one answer: (session, agent, round, k, digest, ordinal). Its states:

    open ──settle──► settled      the answer is served again instead of bought again
      ├────fail────► failed       asked again, the row is bought again: same step, next attempt
      ├──break off─► failed       likewise; the session was over, so nobody asks again
      └───recover──► lost         likewise; the gateway died in between, so it was charged in full already

In a pinned turn (k >= 1) a settled row answers every equal request. Programs without turns (k = 0) repeat themselves
from the start in each epoch, so each row is served once per epoch, oldest first.

An answer that was paid for is journaled whatever became of the pod that asked: entries carry the epoch that asked.
What ends a purchase without an answer is in `failures`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, insert, select

from agentsessions.journal import child_levels, compaction, failures, fences, limits, situations, turns
from agentsessions.journal.answers import Answer, read_answer
from agentsessions.journal.charges import (
    CallState,
    charge,
    cost_of,
    estimated_usage,
    find_call,
    is_in,
    place_of,
    reserved_usage,
    update_call,
)
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.refusals import LimitReached, PriceMissing, UnknownCall
from agentsessions.journal.rows import CallRequest, Columns, PodIdentity, Replay, Reserved, TokenUsage
from agentsessions.journal.situations import Situation
from agentsessions.journal.tables import model_calls, tool_calls
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.child_sessions import Amounts

_EQUAL: Final = Prepared(
    select(model_calls)
    .where(
        model_calls.c.session_uid == bindparam("uid"),
        model_calls.c.agent == bindparam("agent"),
        model_calls.c.round == bindparam("round"),
        model_calls.c.k == bindparam("k"),
        model_calls.c.digest == bindparam("digest"),
    )
    .order_by(model_calls.c.ordinal)
)
_BUY: Final = Prepared(insert(model_calls).returning(model_calls.c.id))
_ASK_FOR: Final = Prepared(insert(tool_calls))
_CONTINUED: Final = (
    select(
        (model_calls.c.input_tokens + model_calls.c.output_tokens).label("tokens"),
        (model_calls.c.request_bytes + model_calls.c.answer_bytes).label("bytes"),
    )
    .where(
        model_calls.c.session_uid == bindparam("uid"),
        model_calls.c.agent == bindparam("agent"),
        model_calls.c.prompt_digest.in_(bindparam("digests", expanding=True)),
        is_in(CallState.SETTLED),
    )
    .order_by(model_calls.c.request_bytes.desc(), model_calls.c.id.desc())
    .limit(1)
)
_UNDER_WAY: Final = Prepared(
    select(model_calls).where(model_calls.c.session_uid == bindparam("uid"), is_in(CallState.OPEN))
)


@dataclass(frozen=True, slots=True)
class InFlight:
    """The same request is being bought."""

    call_id: int
    owner: str
    """The gateway that buys it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A journaled answer, and the limit that keeps it from the pod."""

    answer: dict[str, Any]
    refusal: LimitReached | None = None


def reserve(work: Work, pod: PodIdentity, asked: CallRequest) -> Replay | Reserved | LimitReached | InFlight:
    """Serve a recorded answer, or make room for a purchase.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        NothingToPlay: The agent is done, or its next turn is not pinned.
        PriceMissing: The answer would have to be bought, and the session's cost limit cannot be held.
    """
    found = situations.find(work, pod)
    fences.check_open(pod, found.epoch)
    turn = turns.playing(pod, found)
    rows = _rows_for(work, pod, turn, asked.digest)
    row = _pick(rows, turn.k, pod.epoch)
    if row is not None and row["state"] in (CallState.SETTLED, CallState.OPEN):
        return _serve(work, pod, row, found)
    return _buy(work, pod, turn, asked, found, row, ordinal=len(rows))


def join(work: Work, pod: PodIdentity, call_id: int) -> Replay | LimitReached | None:
    """Serve the answer of a purchase that was in flight when the pod asked; None when it brought none.

    Raises:
        StaleEpoch: Another pod speaks for the agent now.
        NothingToPlay: The pod closed its epoch.
        UnknownCall: There is no such call.
    """
    found = situations.find(work, pod)
    fences.check_open(pod, found.epoch)
    row = find_call(work, call_id)
    return _serve_settled(work, row, found) if row["state"] == CallState.SETTLED else None


def _rows_for(work: Work, pod: PodIdentity, turn: turns.Playing, digest: str) -> Sequence[Columns]:
    return _EQUAL.rows(work, uid=pod.session_uid, agent=pod.agent, round=turn.round, k=turn.k, digest=digest)


def _pick(rows: Sequence[Columns], k: int, epoch: int) -> Columns | None:
    """Return the row that answers the request: any in a turn, else the oldest that this epoch was not served."""
    if k > 0:
        return rows[0] if rows else None
    return next((r for r in rows if r["state"] != CallState.SETTLED or r["served_epoch"] < epoch), None)


def _serve(work: Work, pod: PodIdentity, row: Columns, found: Situation) -> Replay | InFlight | LimitReached:
    if row["served_epoch"] != pod.epoch:
        update_call(work, row, served_epoch=pod.epoch)
    if row["state"] == CallState.OPEN:
        return InFlight(row["id"], row["owner"])
    return _serve_settled(work, row, found)


def _serve_settled(work: Work, row: Columns, found: Situation) -> Replay | LimitReached:
    if _asks_for_tools(row["answer"]):
        ledger = found.open_ledger(work)
        denial = _check_tool_calls(work, ledger, found)
        if denial is not None:
            return _refuse(ledger, denial)
    return Replay(row["id"], row["step"], row["answer"])


def _check_tool_calls(work: Work, ledger: Ledger, found: Situation) -> limits.Denial | None:
    kept = _kept_for_children(work, ledger, found)
    return limits.check_tool_calls(ledger.usage.tool_calls + kept.max_tool_calls, found.limits)


def _kept_for_children(work: Work, ledger: Ledger, found: Situation) -> Amounts:
    return child_levels.read_kept(work.conn, ledger.session_uid) if found.has_children else Amounts()


def _asks_for_tools(answer: dict[str, Any]) -> bool:
    return bool(answer["choices"][0]["message"].get("tool_calls"))


def _buy(
    work: Work,
    pod: PodIdentity,
    turn: turns.Playing,
    asked: CallRequest,
    found: Situation,
    row: Columns | None,
    *,
    ordinal: int,
) -> Reserved | LimitReached:
    ledger = found.open_ledger(work)
    estimate = limits.estimate_input(asked.request_bytes, _continued(work, pod, asked.prefix_digests))
    weighed = _weigh(work, ledger, pod, asked, found, estimate=estimate)
    if isinstance(weighed, limits.Denial):
        return _refuse(ledger, weighed)
    purchase = _to_purchase(work, pod, asked, weighed) | {"estimate_tokens": estimate}
    if row is None:
        step, attempt = found.newest_step + 1, 1
        call_id = _insert(work, pod, turn, asked, {**purchase, "ordinal": ordinal, "step": step})
        place = Place(pod.agent, pod.epoch, turn.round, step)
        request = {"request": asked.parts} if asked.parts else {}
        ledger.append(EntryType.STEP_START, {"model": asked.model, "attempt": attempt, **request}, place)
    else:
        call_id, step, attempt = row["id"], row["step"], row["attempt"] + 1
        update_call(work, row, attempt=attempt, error_code=None, error_message=None, **purchase)
    ledger.clear_limit()
    ledger.save()
    work.touched.add(pod.session_uid)  # its level says how many purchases are under way
    return Reserved(call_id, step, attempt, weighed.cap_output_tokens, weighed.capped_by is not None, turn.is_text_only)


def _to_purchase(work: Work, pod: PodIdentity, asked: CallRequest, granted: limits.Grant) -> dict[str, Any]:
    prices = asked.prices
    return {
        "epoch": pod.epoch,
        "served_epoch": pod.epoch,
        "owner": asked.owner,
        "state": CallState.OPEN.value,
        "model": asked.model,
        "cap_tokens": granted.cap_output_tokens,
        "capped_by": granted.capped_by,
        "input_micro_usd_per_million": prices and prices.input_micro_usd_per_million,
        "output_micro_usd_per_million": prices and prices.output_micro_usd_per_million,
        "started_at": work.now,
    }


def _weigh(
    work: Work, ledger: Ledger, pod: PodIdentity, asked: CallRequest, found: Situation, *, estimate: int
) -> limits.Grant | limits.Denial:
    in_force = found.limits
    if in_force.max_cost_micro_usd is not None and asked.prices is None:
        raise PriceMissing(
            f"{pod.namespace}/{pod.name} has limits.maxCostMicroUSD, and model {asked.model!r} has no prices: add them "
            "to its ModelProvider, or take the limit out of the session"
        )
    spent = _spent(work, ledger, found)
    return limits.weigh(spent, in_force, estimate=estimate, asked=asked.asked_output_tokens, prices=asked.prices)


def _insert(work: Work, pod: PodIdentity, turn: turns.Playing, asked: CallRequest, values: dict[str, Any]) -> int:
    row = {
        "session_uid": pod.session_uid,
        "agent": pod.agent,
        "round": turn.round,
        "k": turn.k,
        "digest": asked.digest,
        "prompt_digest": asked.prompt_digest,
        "request_bytes": asked.request_bytes,
        "attempt": 1,
        **values,
    }
    call_id: int = _BUY.value(work, **row)
    return call_id


def _spent(work: Work, ledger: Ledger, found: Situation) -> limits.Spent:
    under_way = _UNDER_WAY.rows(work, uid=ledger.session_uid) if found.has_open_calls else []
    reserved = [reserved_usage(row) for row in under_way]
    used, kept = ledger.usage, _kept_for_children(work, ledger, found)
    return limits.Spent(
        steps=used.steps + kept.max_steps,
        tokens=used.input_tokens + used.output_tokens + kept.max_tokens,
        tool_calls=used.tool_calls + kept.max_tool_calls,
        open_calls=len(under_way),
        reserved_tokens=sum(one.input_tokens + one.output_tokens for one in reserved),
        cost_micro_usd=used.cost_micro_usd + kept.max_cost_micro_usd,
        reserved_cost_micro_usd=sum(cost_of(row, one) or 0 for row, one in zip(under_way, reserved, strict=True)),
    )


def _continued(work: Work, pod: PodIdentity, prefix_digests: tuple[str, ...]) -> limits.Continued | None:
    if not prefix_digests:
        return None
    asked = {"uid": pod.session_uid, "agent": pod.agent, "digests": prefix_digests}
    row = work.conn.execute(_CONTINUED, asked).one_or_none()
    return None if row is None else limits.Continued(tokens=row.tokens, bytes=row.bytes)


def _refuse(ledger: Ledger, denial: limits.Denial) -> LimitReached:
    ledger.mark_limit(denial.limit, denial.message, denial.needed)
    ledger.save()
    return LimitReached(denial.limit, denial.message)


def settle(
    work: Work,
    pod: PodIdentity,
    call_id: int,
    completion: dict[str, Any],
    spent: TokenUsage | None,
    *,
    estimated: bool,
) -> Settled:
    """Journal an answer that was bought. The same call again gives the first answer.

    Raises:
        UnknownCall: There is no such purchase under way.
        ValueError: It is not a complete answer.
    """
    row = find_call(work, call_id)
    if row["session_uid"] != pod.session_uid or row["agent"] != pod.agent:
        raise UnknownCall(f"call {call_id} is not one of agent {pod.agent} of {pod.namespace}/{pod.name}")
    if row["state"] == CallState.SETTLED:
        return Settled(row["answer"])
    if row["state"] != CallState.OPEN:
        raise UnknownCall(f"model call {row['id']} is over ({row['state']}): its answer comes too late")
    found = situations.find(work, pod)
    ledger = found.open_ledger(work)
    answer = read_answer(completion, id_prefix=_prefix_of(ledger, row))
    if spent is None:
        spent, estimated = estimated_usage(row, answer.message_bytes), True
    if answer.finish_reason == "length" and row["capped_by"] is not None:
        return Settled(answer.relayed, failures.cut_by_limit(work, ledger, row, spent, estimated=estimated))
    values = charge(ledger, row, spent, estimated=estimated, now=work.now)
    update_call(
        work,
        row,
        state=CallState.SETTLED.value,
        answer=answer.relayed,
        answer_bytes=answer.message_bytes,
        **values,
    )
    _journal_answer(work, ledger, row, answer, found)
    if row["k"] == 0:
        _complete_unpinned(work, ledger, {**row, **values})
    if answer.tools and (denial := _check_tool_calls(work, ledger, found)) is not None:
        return Settled(answer.relayed, _refuse(ledger, denial))
    ledger.save()
    return Settled(answer.relayed)


def _prefix_of(ledger: Ledger, row: Columns) -> str:
    """Return how the ids of an answer's calls begin: unlike all others in its conversation, which agents may share."""
    agent = f"{row['agent']}_" if ledger.has_parts else ""
    return f"call_{agent}{row['round']}_{row['step']}"


def _journal_answer(work: Work, ledger: Ledger, row: Columns, answer: Answer, found: Situation) -> None:
    place = place_of(row)
    if (summary := compaction.find_body(work, row, found, answer.text)) is not None:
        ledger.append(EntryType.COMPACTION, summary, place)
    elif answer.text or not answer.tools:
        type_ = EntryType.THINKING if answer.tools else EntryType.OUTPUT
        ledger.append(type_, {"text": answer.text}, place)
    if not answer.tools:
        return
    for tool in answer.tools:
        body = {"callId": tool.call_id, "name": tool.name, "arguments": tool.arguments}
        ledger.append(EntryType.TOOL_CALL, body, place)
    ledger.count(tool_calls=len(answer.tools))
    key = {name: row[name] for name in ("session_uid", "agent", "round", "k", "step")}
    _ASK_FOR.run_each(
        work,
        [
            {**key, "call_id": t.call_id, "original_id": t.original_id, "position": i, "name": t.name}
            for i, t in enumerate(answer.tools)
        ],
    )


def _complete_unpinned(work: Work, ledger: Ledger, row: Any) -> None:
    """Close the step of a program that commits no turns: each answer it pays for counts as one."""
    ledger.append(EntryType.STEP_COMPLETE, turns.complete_body(row, row["duration_milliseconds"]), place_of(row))
    ledger.count(turns=1)
    fences.count_turn(work, row["session_uid"], row["agent"], row["epoch"])
