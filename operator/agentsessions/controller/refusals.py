"""What a session is refused for while it is Pending."""

from agentsessions.api.reasons import Reason


class RefusedError(Exception):
    """A reference is wrong: the fault of whoever wrote the session, told in its status."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
