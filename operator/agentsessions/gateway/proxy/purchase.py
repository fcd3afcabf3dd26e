"""Buying an answer: reserve, buy, settle. Relaying is the client's part, and may never happen.

Each purchase is a task of its own that runs to its end, whatever becomes of those who wait for it. Equal requests of
one pod join it. A pod of a newer epoch waits for it, and then finds its answer in the journal: that is how each
answer is served once per epoch.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.provider import ProviderModel
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.proxy.answer import Answer
from agentsessions.gateway.proxy.checks import ModelRequest, check_answer
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.providers import Provider
from agentsessions.gateway.proxy.refused import limit_problem, to_problem
from agentsessions.gateway.proxy.seller import Order, Seller
from agentsessions.journal.limits import estimate_input
from agentsessions.journal.refusals import LimitReached, Refusal
from agentsessions.journal.rows import CallRequest, PodIdentity, Replay, Reserved, TokenUsage
from agentsessions.journal.store import Store, utc_now

log = structlog.get_logger(__name__)

Key = tuple[str, str, str]
"""Session uid, agent, digest. An equal request of another turn differs in its history, and so in its digest."""


@dataclass(slots=True, eq=False)
class Purchase:
    """A purchase under way, or just ended."""

    pod: PodIdentity
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[dict[str, Any]]" = field(init=False)

    @property
    def is_ended(self) -> bool:
        """Whether there is an outcome."""
        return self.task.done()

    async def answer(self) -> dict[str, Any]:
        """Return the journaled answer.

        Raises:
            ProblemError: There is none.
        """
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if not self.task.cancelled():
                raise
            # Told as an error, never as a stream that just ends: clients take that for an answer.
            raise unavailable("The gateway ended before the answer was complete. Try again.") from None

    async def begun_or_ended(self) -> None:
        """Wait for the provider's first byte or the outcome."""
        first_byte = asyncio.ensure_future(self.begun.wait())
        try:
            await asyncio.wait({first_byte, self.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            first_byte.cancel()

    async def ended_within(self, seconds: float) -> bool:
        """Wait for the outcome, at most so long; return whether it is there."""
        done, _ = await asyncio.wait({self.task}, timeout=seconds)
        return bool(done)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pod wants to buy, and where."""

    pod: PodIdentity
    request: ModelRequest
    provider: Provider
    model: ProviderModel

    @property
    def key(self) -> Key:
        """What equal requests share."""
        return (self.pod.session_uid, self.pod.agent, self.request.digest)


class Purchases:
    """All purchases of this process."""

    def __init__(self, store: Store, seller: Seller) -> None:
        self._store = store
        self._seller = seller
        self._under_way: dict[Key, Purchase] = {}
        self._is_draining = False

    @property
    def under_way(self) -> tuple[Purchase, ...]:
        """What is being bought now."""
        return tuple(self._under_way.values())

    async def ask(self, wanted: Wanted) -> Purchase:
        """Return the purchase of what is wanted: one under way, or a new one.

        Raises:
            ProblemError: 503 while the process ends.
        """
        while (other := self._under_way.get(wanted.key)) is not None and not other.is_ended:
            if other.pod.pod_uid == wanted.pod.pod_uid:
                return other
            await asyncio.wait({other.task})
        if self._is_draining:
            raise unavailable("The gateway is about to end and sells no more answers. Try again.")
        return self._start(wanted)

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
        purchase.task = asyncio.create_task(self._run(wanted, purchase.begun.set), name="purchase")
        self._under_way[wanted.key] = purchase
        purchase.task.add_done_callback(lambda _: self._forget(wanted.key, purchase))
        return purchase

    def _forget(self, key: Key, purchase: Purchase) -> None:
        if self._under_way.get(key) is purchase:
            del self._under_way[key]
        if not purchase.task.cancelled():
            purchase.task.exception()  # every client may have gone; asyncio would then report it as never seen

    async def _run(self, wanted: Wanted, on_first_byte: Callable[[], None]) -> dict[str, Any]:
        try:
            return await self._reserve(wanted, on_first_byte)
        except Refusal as refusal:
            raise to_problem(refusal) from refusal
        except ModelFault as fault:
            raise fault.to_problem() from fault
        except ProblemError:
            raise
        except Exception as error:
            log.exception("purchase failed", **_names(wanted))
            detail = "The gateway failed while it bought an answer; its log has the cause."
            raise ProblemError(500, "internal", "Internal error", detail, final=True) from error

    async def _reserve(self, wanted: Wanted, on_first_byte: Callable[[], None]) -> dict[str, Any]:
        request = wanted.request
        reservation = await self._store.reserve_call(
            wanted.pod,
            CallRequest(
                digest=request.digest,
                model=request.model,
                request_bytes=request.size_bytes,
                asked_output_tokens=request.asked_output_tokens,
                prompt_digest=request.prompt_digest,
                prefix_digests=request.prefix_digests,
            ),
        )
        match reservation:
            case Replay():
                return reservation.answer
            case LimitReached():
                raise limit_problem(reservation)
            case Reserved():
                return await self._buy(wanted, reservation, on_first_byte)

    async def _buy(self, wanted: Wanted, reserved: Reserved, on_first_byte: Callable[[], None]) -> dict[str, Any]:
        try:
            answer = await self._seller.buy(await self._order(wanted, reserved), on_first_byte)
        except ModelFault as fault:
            await self._fail(wanted, reserved, fault)
            raise
        except Exception as error:
            raise await self._fail_by_bug(wanted, reserved, error) from error
        usage = _usage_of(wanted.request, answer)
        try:
            check_answer(answer, is_capped_by_us=reserved.capped, is_text_only=reserved.is_text_only)
        except ModelFault as fault:
            await self._fail(wanted, reserved, fault, usage)
            raise
        try:
            return await self._settle(wanted, reserved, answer, usage)
        except LimitReached:
            raise  # journaled and charged
        except Exception as error:
            raise await self._fail_by_bug(wanted, reserved, error) from error

    async def _order(self, wanted: Wanted, reserved: Reserved) -> Order:
        pod = wanted.pod
        return Order(
            provider=wanted.provider,
            model=wanted.model,
            request=wanted.request,
            session_uid=pod.session_uid,
            agent=pod.agent,
            attempt=reserved.attempt,
            cap_tokens=reserved.cap_output_tokens,
            original_ids=await self._store.original_call_ids(pod.session_uid, pod.agent),
        )

    async def _fail(
        self, wanted: Wanted, reserved: Reserved, fault: ModelFault, usage: TokenUsage | None = None
    ) -> None:
        log.warning("model call failed", code=fault.code, message=fault.message, **_names(wanted))
        await self._store.fail_call(
            reserved.call_id,
            fault.code,
            fault.message,
            charged=fault.is_charged,
            usage=usage,
            retry_at=fault.retry_at(utc_now()),
        )

    async def _fail_by_bug(self, wanted: Wanted, reserved: Reserved, error: Exception) -> ModelFault:
        """Record a failure of our own, maybe after the answer was sold, and return it for the pod.

        A reservation left open would refuse equal requests until the process ends.
        """
        log.error("purchase broke", exc_info=error, **_names(wanted))
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
        return await self._store.settle_call(
            wanted.pod, reserved.call_id, completion, usage, estimated=answer.usage is None
        )


def _usage_of(request: ModelRequest, answer: Answer) -> TokenUsage:
    """Return what the provider reported, else an estimate that is rather too high."""
    if answer.usage is not None:
        return TokenUsage(answer.usage.input_tokens, answer.usage.output_tokens)
    return TokenUsage(estimate_input(request.size_bytes, None), estimate_input(answer.size_bytes, None))


def _names(wanted: Wanted) -> dict[str, Any]:
    pod = wanted.pod
    return {"namespace": pod.namespace, "session": pod.name, "agent": pod.agent, "epoch": pod.epoch}
