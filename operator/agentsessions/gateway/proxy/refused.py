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

FINAL: Final[dict[type[Refusal], tuple[int, str, str]]] = {
    StaleEpoch: (412, RefusalCode.STALE_EPOCH, "Not this agent's pod any more"),
    NothingToPlay: (412, RefusalCode.NOTHING_TO_PLAY, "No turn to play"),
    TurnMismatch: (412, RefusalCode.TURN_MISMATCH, "Not the open turn"),
    UnknownCall: (404, RefusalCode.UNKNOWN_CALL, "No such tool call"),
    # A class of error, so that the session tries again after a while: prices can be added.
    PriceMissing: (403, ErrorCode.MODEL_ERROR, "The model has no price"),
}
"""Status, code and title; every other refusal passes by itself."""


def to_problem(refusal: Refusal) -> ProblemError:
    """Return the answer for the pod."""
    if isinstance(refusal, LimitReached):
        return limit_problem(refusal)
    if type(refusal) not in FINAL:
        return unavailable(f"{refusal}.")
    status, code, title = FINAL[type(refusal)]
    return ProblemError(status, code, title, f"{refusal}.")


def limit_problem(reached: LimitReached) -> ProblemError:
    """Return the answer to a pod that came to a limit of its session."""
    return ProblemError(402, LIMIT_CODES[reached.limit], "Limit reached", f"{reached.message}.")


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
