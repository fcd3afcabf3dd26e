"""What can go wrong between a program and the gateway. Nothing else is raised on purpose."""


class AgentSessionsError(Exception):
    """Something failed; the text says what, on what, and what to do."""


class ApiError(AgentSessionsError):
    """The gateway refused.

    `code` is stable, programs branch on it; `detail` is for people.
    """

    def __init__(self, status: int, code: str, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after
        """Seconds after which the gateway wants to be asked again; None when it did not say."""


class Unreachable(AgentSessionsError):  # noqa: N818  # the state, as people say it
    """The gateway did not answer, also after trying again for a while."""


class TimedOut(AgentSessionsError, TimeoutError):  # noqa: N818  # likewise
    """What was waited for did not come in time. The session goes on."""


class SessionEnded(AgentSessionsError):  # noqa: N818  # likewise
    """The session ended, or was deleted, before what was waited for came."""

    def __init__(self, message: str, phase: str | None = None) -> None:
        super().__init__(message)
        self.phase = phase
        """Phase in which it ended; None when it was deleted."""
