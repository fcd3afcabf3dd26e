"""From a reservation to a provider: which endpoint, which body, which try."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.provider import ProviderModel, ProviderType
from agentsessions.gateway.proxy.answer import Accumulator, Answer
from agentsessions.gateway.proxy.checks import ModelRequest
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.providers import KeyReader, Provider
from agentsessions.gateway.proxy.retry import buy_with_retries
from agentsessions.gateway.proxy.scripted import AGENT_HEADER, ATTEMPT_HEADER, MODEL_HEADER, ScriptedServer
from agentsessions.gateway.proxy.upstream import Endpoint, Upstream
from agentsessions.gateway.proxy.upstream_body import build_body

MAX_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Order:
    """One answer to buy."""

    provider: Provider
    model: ProviderModel
    request: ModelRequest
    session_uid: str
    agent: str
    step: int
    attempt: int
    """Which reservation of this request it is, from 1."""
    cap_tokens: int | None
    original_ids: Mapping[str, str]


class Seller:
    """Buys from providers, scripted ones included, with the tries that one purchase has."""

    def __init__(
        self,
        upstream: Upstream,
        keys: KeyReader,
        scripted: ScriptedServer,
        *,
        tell: Callable[[Order, int], AbstractContextManager[Callable[[str], None]]],
    ) -> None:
        """Buy by these means; `tell` gives each try somewhere to tell its text as it comes."""
        self._upstream = upstream
        self._keys = keys
        self._scripted = scripted
        self._tell = tell
        self._tries: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    async def buy(self, order: Order, on_first_byte: Callable[[], None], tries: list[Accumulator]) -> Answer:
        """Return a complete answer.

        Args:
            order: What to buy, and where.
            on_first_byte: Called when the provider begins to answer with success.
            tries: Filled with what each try brought that the provider will want to be paid; the last one may be
                under way. Read it when this was cancelled.

        Raises:
            ModelFault: No try brought one.
        """
        what = (order.session_uid, order.agent, order.request.digest)
        body = build_body(order.request, order.model, cap_tokens=order.cap_tokens, original_ids=order.original_ids)
        # Tries go on counting over epochs. After a restart of the process the journal knows the purchases, not
        # the tries within them.
        before = max(self._tries.pop(what, 0), order.attempt - 1)

        async def attempt(number: int) -> Answer:
            self._remember(what, before + number)
            endpoint = await self._endpoint(order, before + number)
            with self._tell(order, before + number) as tell:
                tries.append(collected := Accumulator(tell))
                try:
                    return await self._upstream.buy(endpoint, body, on_first_byte, collected)
                except ModelFault as fault:
                    if not fault.is_charged:
                        tries.remove(collected)
                    raise

        answer = await buy_with_retries(attempt)
        self._tries.pop(what, None)
        return answer

    async def _endpoint(self, order: Order, attempt: int) -> Endpoint:
        provider = order.provider
        if provider.spec.type is ProviderType.SCRIPTED:
            headers = {AGENT_HEADER: order.agent, MODEL_HEADER: quote(order.model.name), ATTEMPT_HEADER: str(attempt)}
            url = self._scripted.url(provider.namespace, provider.name)
            return Endpoint(url, self._scripted.key, headers)
        if provider.spec.url is None:
            message = f"ModelProvider {provider.namespace}/{provider.name} has no url; add one."
            raise ModelFault(ErrorCode.MODEL_ERROR, message)
        return Endpoint(provider.spec.url, await self._keys.key(provider))

    def _remember(self, what: tuple[str, str, str], tries: int) -> None:
        self._tries[what] = tries
        while len(self._tries) > MAX_REMEMBERED:
            self._tries.popitem(last=False)
