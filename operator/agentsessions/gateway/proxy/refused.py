"""How a pod is told what the journal refuses. Never 409: clients would ask again."""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from agentsessions.api.reasons import LIMIT_CODES, ErrorCode, RefusalCode
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.journal.refusals import (
    LimitReached,
    NothingToPlay,
    PriceMissing,
    Refusal,
    StaleEpoch,
    TurnMismatch,
    UnknownCall,
)

FINAL: Final[dict[type[Refusal], RefusalCode]] = {
    StaleEpoch: RefusalCode.STALE_EPOCH,
    NothingToPlay: RefusalCode.NOTHING_TO_PLAY,
    TurnMismatch: RefusalCode.TURN_MISMATCH,
    UnknownCall: RefusalCode.UNKNOWN_CALL,
}
"""Every other refusal, but for limits and prices, passes by itself."""
NO_PRICE_STATUS: Final = 403
"""Not the provider's fault, as with other model errors."""


def to_problem(refusal: Refusal) -> ProblemError:
    """Return the answer for the pod."""
    if isinstance(refusal, LimitReached):
        return limit_problem(refusal)
    if isinstance(refusal, PriceMissing):
        # A class of error, so that the session tries again after a while: prices can be added.
        return ProblemError(ErrorCode.MODEL_ERROR, f"{refusal}.", status=NO_PRICE_STATUS)
    if type(refusal) not in FINAL:
        return unavailable(f"{refusal}.")
    return ProblemError(FINAL[type(refusal)], f"{refusal}.")


def limit_problem(reached: LimitReached) -> ProblemError:
    """Return the answer to a pod that came to a limit of its session."""
    return ProblemError(LIMIT_CODES[reached.limit], f"{reached.message}.")


class RefusalRoute(APIRoute):
    """A route whose handler may let refusals of the journal pass."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with refusals as problems."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except Refusal as refusal:
                raise to_problem(refusal) from refusal

        return handle
