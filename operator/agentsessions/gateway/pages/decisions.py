"""Calls that wait for a person, on a session's page: what is asked, and the buttons that answer."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Final

from fastapi import Depends, Request, Response
from pydantic import ValidationError

from agentsessions.api.v1alpha1.approval import Answer
from agentsessions.gateway.audit import Attempt, attempt_of
from agentsessions.gateway.callers import TheCaller
from agentsessions.gateway.lookup import SessionId, TheNamespace
from agentsessions.gateway.pages.acts import go_back, to_problem
from agentsessions.gateway.pages.signin import read_form
from agentsessions.gateway.routes.approvals import DecisionBody, HappenedBody, Name, decide
from agentsessions.journal.acts import Act

BUTTONS: Final[Mapping[str, tuple[Act, Answer]]] = MappingProxyType({
    "approve": (Act.APPROVE, Answer.APPROVE),
    "deny": (Act.DENY, Answer.DENY),
    "happened": (Act.SETTLE, Answer.HAPPENED),
    "run-again": (Act.RUN_AGAIN, Answer.RUN_AGAIN),
})  # fmt: skip
"""What the last part of an address does: as below /api/v1/approvals."""


def decider(act: Act, answer: Answer) -> Callable[..., Awaitable[Response]]:
    """Return what one of the buttons does."""

    async def answer_call(
        request: Request,
        caller: TheCaller,
        namespace: TheNamespace,
        session: SessionId,
        approval: Name,
        attempt: Annotated[Attempt, Depends(attempt_of(act))],
    ) -> Response:
        form = await read_form(request)
        said = {"reason": form.get("reason") or None}
        try:
            body = (
                HappenedBody.model_validate({**said, "output": form.get("output", "")})
                if answer is Answer.HAPPENED
                else DecisionBody.model_validate(said)
            )
        except ValidationError as error:
            raise to_problem(error) from error
        await decide(attempt, caller, approval, answer, body)
        return go_back(namespace, session)

    return answer_call
