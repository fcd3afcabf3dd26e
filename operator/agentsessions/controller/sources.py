"""What a session takes over from another one, before it is accepted: steps of the journal, files of the workspace."""

from collections.abc import Awaitable, Callable

from agentsessions.api.levels import SourceAnswer
from agentsessions.api.reasons import Reason
from agentsessions.api.v1alpha1.placement import FilledFrom
from agentsessions.controller.levels import GatewayAwayError
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.workspaces import Workspaces
from agentsessions.lifecycle.facts import SessionView


class Sources:
    """Asks the gateway, which alone has the journal."""

    def __init__(self, take_over: Callable[[str], Awaitable[SourceAnswer | None]], workspaces: Workspaces) -> None:
        self._take_over = take_over
        self._workspaces = workspaces

    async def check(self, session: SessionView) -> FilledFrom | None:
        """Return once the session has what its spec.source or spec.replay names, with the workspace to be copied.

        Asked again, nothing changes.

        Raises:
            RefusedError: It has not; the text says what is missing.
        """
        if session.spec.source is None and session.spec.replay is None:
            return None
        filled_from = await self._workspaces.find(session)
        field = "spec.source.sessionRef" if session.spec.source is not None else "spec.replay.of"
        try:
            answer = await self._take_over(session.uid)
        except GatewayAwayError as error:
            raise RefusedError(
                Reason.AWAITING_JOURNAL, f"{field} is looked up in the journal; the gateway does not answer: {error}"
            ) from error
        if answer is None:
            raise RefusedError(
                Reason.AWAITING_JOURNAL, f"{field} is looked up once the journal knows this session: a moment"
            )
        if answer.reason is not None:
            raise RefusedError(answer.reason, answer.message)
        return filled_from
