"""Buying an answer: reserve, buy, settle. Relaying is the client's part, and may never happen.

Each purchase is a task of its own that runs to its end, whatever becomes of those who wait for it. Equal requests of
one pod join it. A pod of a newer epoch waits for it, and then finds its answer in the journal: that is how each
answer is served once per epoch.

Only a session that is over has its purchases broken off: the connection to the provider is closed, and what was used
until then is charged. From a purchase that ended at the same moment there is one charge too: the first one that comes
to the journal.

Another gateway may be buying what is asked for here: it is waited for, too. A purchase that the journal holds for this
process and that is not under way here was left behind when the journal's database was away; it is closed first.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import structlog

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.proxy.answer import Accumulator, Answer
from agentsessions.gateway.proxy.checks import check_answer, reported, usage_of
from agentsessions.gateway.proxy.elsewhere import Elsewhere
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.observed import observe_call
from agentsessions.gateway.proxy.patience import until_journaled
from agentsessions.gateway.proxy.purchase import BrokenOff, Key, Purchase, Wanted
from agentsessions.gateway.proxy.recorded import find_recorded
from agentsessions.gateway.proxy.refused import limit_problem, to_problem
from agentsessions.gateway.proxy.seller import Order, Seller
from agentsessions.journal.refusals import CallInFlight, LimitReached, Refusal
from agentsessions.journal.rows import (
    CallRequest,
    PartialAnswer,
    PodIdentity,
    Replay,
    Reservation,
    Reserved,
    TokenUsage,
)
from agentsessions.journal.store import Store, utc_now

log = structlog.get_logger(__name__)

T = TypeVar("T")
ENDING_SECONDS: Final = 5.0
"""A purchase that is broken off ends in milliseconds: it closes a connection and writes one row."""
RefuseEnded = Callable[[PodIdentity], None]
"""Raises the ProblemError for a pod whose session is over, as far as the watch has shown."""


class Purchases:
    """All purchases of this process."""

    def __init__(self, store: Store, seller: Seller, elsewhere: Elsewhere, refuse_ended: RefuseEnded) -> None:
        self._store = store
        self._seller = seller
        self._elsewhere = elsewhere
        self._refuse_ended = refuse_ended
        self._under_way: dict[Key, Purchase] = {}
        self._sold: set[int] = set()
        """Calls that were let through, and whose end is not journaled."""
        self._is_draining = False

    @property
    def under_way(self) -> tuple[Purchase, ...]:
        """What is being bought now."""
        return tuple(self._under_way.values())

    async def ask(self, wanted: Wanted) -> Purchase:
        """Return the purchase of what is wanted: one under way, or a new one.

        Raises:
            ProblemError: 412 when the session is over, 503 while the process ends.
        """
        while (other := self._under_way.get(wanted.key)) is not None and not other.is_ended:
            if other.pod.pod_uid == wanted.pod.pod_uid:
                return other
            await asyncio.wait({other.task})
        if self._is_draining:
            raise unavailable("The gateway is about to end and sells no more answers. Try again.")
        # It may have ended since the request was let in. From here on `review` knows of the purchase.
        self._refuse_ended(wanted.pod)
        return self._start(wanted)

    def review(self, session_uid: str) -> None:
        """Break off what is being bought for a session, if that is over now."""
        for purchase in self.under_way:
            if purchase.pod.session_uid == session_uid:
                try:
                    self._refuse_ended(purchase.pod)
                except ProblemError as problem:
                    purchase.break_off(problem)

    async def ended(self, session_uid: str) -> None:
        """Wait until nothing is being bought for a session that is over, here or elsewhere; not for long."""
        tasks = {one.task for one in self.under_way if one.pod.session_uid == session_uid}
        with suppress(TimeoutError):
            async with asyncio.timeout(ENDING_SECONDS):
                if tasks:
                    await asyncio.wait(tasks)
                await self._elsewhere.wait_for_all(session_uid)

    async def drain(self, seconds: float) -> int:
        """Refuse new purchases and wait for those under way; return how many are left after `seconds`."""
        self._is_draining = True
        tasks = {purchase.task for purchase in self.under_way}
        if not tasks:
            return 0
        _, left = await asyncio.wait(tasks, timeout=seconds)
        return len(left)

    async def close(self) -> None:
        """Break off what is left; the journal charges it in full at the next start."""
        self._is_draining = True
        for purchase in self.under_way:
            purchase.task.cancel()
            with suppress(asyncio.CancelledError, ProblemError):
                await purchase.task

    def _start(self, wanted: Wanted) -> Purchase:
        purchase = Purchase(wanted.pod)
        purchase.task = asyncio.create_task(self._run(wanted, purchase), name="purchase")
        self._under_way[wanted.key] = purchase
        purchase.task.add_done_callback(lambda _: self._forget(wanted.key, purchase))
        return purchase

    def _forget(self, key: Key, purchase: Purchase) -> None:
        if self._under_way.get(key) is purchase:
            del self._under_way[key]
        if not purchase.task.cancelled():
            purchase.task.exception()  # every client may have gone; asyncio would then report it as never seen

    async def _run(self, wanted: Wanted, purchase: Purchase) -> dict[str, Any]:
        with observe_call(wanted) as purchase.seen:
            return await self._run_seen(wanted, purchase)

    async def _run_seen(self, wanted: Wanted, purchase: Purchase) -> dict[str, Any]:
        try:
            return await self._reserve(wanted, purchase)
        except Refusal as refusal:
            problem = to_problem(refusal)
            purchase.seen.refused(problem.code)
            raise problem from refusal
        except ModelFault as fault:
            purchase.seen.failed(fault.code)
            raise fault.to_problem() from fault
        except BrokenOff as broken_off:
            raise broken_off.problem from None
        except ProblemError:
            raise
        except Exception as error:
            log.exception("purchase failed", **wanted.names)
            detail = "The gateway failed while it bought an answer; its log has the cause."
            raise ProblemError(ProblemCode.INTERNAL, detail, final=True) from error

    async def _reserve(self, wanted: Wanted, purchase: Purchase) -> dict[str, Any]:
        reservation = await self._ask_journal(wanted, purchase)
        match reservation:
            case Replay():
                purchase.seen.replayed()
                return reservation.answer
            case LimitReached():
                problem = limit_problem(reservation)
                purchase.seen.refused(problem.code)
                raise problem
            case Reserved():
                return await self._sell(wanted, reservation, purchase)

    async def _sell(self, wanted: Wanted, reserved: Reserved, purchase: Purchase) -> dict[str, Any]:
        self._sold.add(reserved.call_id)
        try:
            answer = await self._buy(wanted, reserved, purchase)
        except (Refusal, ModelFault, ProblemError):  # journaled; anything else may have kept it from that
            self._sold.discard(reserved.call_id)
            raise
        self._sold.discard(reserved.call_id)
        return answer

    async def _ask_journal(self, wanted: Wanted, purchase: Purchase) -> Reservation:
        request = wanted.request
        asked = CallRequest(
            digest=request.digest,
            model=request.model,
            request_bytes=request.size_bytes,
            asked_output_tokens=request.asked_output_tokens,
            prompt_digest=request.prompt_digest,
            prefix_digests=request.prefix_digests,
            parts=request.parts,
            prices=wanted.model.prices,
        )
        while True:
            try:
                return await self._store.reserve_call(wanted.pod, asked)
            except CallInFlight as other:
                call_id, is_own = other.call_id, other.is_own
            if is_own:
                await self._close_left_behind(call_id)
            elif (found := await purchase.buy(partial(self._elsewhere.join, wanted.pod, call_id))) is not None:
                return found

    async def _close_left_behind(self, call_id: int) -> None:
        """Close a call of this process that no task of it buys: equal requests share a task, and this is the one."""
        message = "The gateway lost its journal while it was about to buy this answer."
        await self._store.fail_call(call_id, ErrorCode.NETWORK, message, charged=call_id in self._sold)
        self._sold.discard(call_id)

    async def _buy(self, wanted: Wanted, reserved: Reserved, purchase: Purchase) -> dict[str, Any]:
        try:
            answer = await self._fetch(wanted, reserved, purchase)
        except BrokenOff as broken_off:
            purchase.seen.broken_off(broken_off.problem.code)
            await self._break_off(wanted, reserved, purchase.tries, broken_off.problem)
            raise broken_off.problem from None
        except ModelFault as fault:
            await self._fail(wanted, reserved, fault)
            raise
        except Exception as error:
            raise await self._fail_by_bug(wanted, reserved, error) from error
        usage = usage_of(wanted.request, answer)
        try:
            check_answer(answer, is_capped_by_us=reserved.capped, is_text_only=reserved.is_text_only)
        except ModelFault as fault:
            await self._fail(wanted, reserved, fault, usage)
            raise
        try:
            settled = await self._settle(wanted, reserved, answer, usage)
        except LimitReached:
            raise  # journaled and charged
        except Exception as error:
            raise await self._fail_by_bug(wanted, reserved, error) from error
        if wanted.is_recorded:
            purchase.seen.replayed()
        else:
            purchase.seen.bought(wanted, usage, settled)
        return settled

    async def _fetch(self, wanted: Wanted, reserved: Reserved, purchase: Purchase) -> Answer:
        """Return the answer: bought, or in a replay the recorded one."""
        if wanted.is_recorded:
            return await purchase.buy(lambda: find_recorded(self._store, wanted.pod, reserved.call_id))
        order = await self._order(wanted, reserved)
        with purchase.seen.at_provider():
            return await purchase.buy(lambda: self._seller.buy(order, purchase.begun.set, purchase.tries))

    async def _order(self, wanted: Wanted, reserved: Reserved) -> Order:
        pod = wanted.pod
        ids: dict[str, str] = {}
        if wanted.request.names_calls:
            ids = await until_journaled(lambda: self._store.original_call_ids(pod.session_uid))
        return Order(
            provider=wanted.provider,
            model=wanted.model,
            request=wanted.request,
            session_uid=pod.session_uid,
            agent=pod.agent,
            step=reserved.step,
            attempt=reserved.attempt,
            cap_tokens=reserved.cap_output_tokens,
            original_ids=ids,
        )

    async def _fail(
        self, wanted: Wanted, reserved: Reserved, fault: ModelFault, usage: TokenUsage | None = None
    ) -> None:
        log.warning("model call failed", code=fault.code, message=fault.message, **wanted.names)
        retry_at = fault.retry_at(utc_now())
        await until_journaled(
            lambda: self._store.fail_call(
                reserved.call_id,
                fault.code,
                fault.message,
                charged=fault.is_charged,
                usage=usage,
                retry_at=retry_at,
            )
        )

    async def _break_off(
        self, wanted: Wanted, reserved: Reserved, tries: list[Accumulator], problem: ProblemError
    ) -> None:
        log.info("model call broken off", code=problem.code, tries=len(tries), **wanted.names)
        received = [PartialAnswer(one.received_bytes, reported(one.usage)) for one in tries]
        try:
            why = f"Broken off: {problem.detail}"
            await until_journaled(lambda: self._store.break_off_call(reserved.call_id, problem.code, why, received))
        except Exception as error:
            raise await self._fail_by_bug(wanted, reserved, error) from error

    async def _fail_by_bug(self, wanted: Wanted, reserved: Reserved, error: Exception) -> ModelFault:
        """Record a failure of our own, maybe after the answer was sold, and return it for the pod.

        A reservation left open would refuse equal requests until the process ends.
        """
        log.error("purchase broke", exc_info=error, **wanted.names)
        fault = ModelFault(ErrorCode.MODEL_ERROR, f"The gateway failed: {type(error).__name__}.", is_charged=True)
        await self._fail(wanted, reserved, fault)
        return fault

    async def _settle(self, wanted: Wanted, reserved: Reserved, answer: Answer, usage: TokenUsage) -> dict[str, Any]:
        completion = answer.to_completion(f"chatcmpl-{reserved.call_id}", wanted.model.name) | {
            "usage": {
                "prompt_tokens": usage.input_tokens,
                "completion_tokens": usage.output_tokens,
                "total_tokens": usage.input_tokens + usage.output_tokens,
            }
        }
        is_estimated = answer.usage is None
        return await until_journaled(
            lambda: self._store.settle_call(wanted.pod, reserved.call_id, completion, usage, estimated=is_estimated)
        )
