"""Why the journal refuses a write. Each one leaves the store as it was."""

from agentsessions.api.reasons import LimitName


class Refusal(Exception):  # noqa: N818 - a refusal is an answer, not a malfunction
    """The base of all refusals; the text is a sentence for people."""


class StoreClosed(Refusal):
    """The store is shutting down and takes no more writes. Passes: ask again elsewhere or later."""


class StoreUnavailable(Refusal):
    """The database is away. Passes: ask again for the same, as what was asked for may have been kept."""


class ForeignJournal(Refusal):
    """The journal that was found is of another build, which this one cannot write. Final: it does not start."""

    def __init__(self, differences: str) -> None:
        super().__init__(
            f"the journal was made by another build of the gateway ({differences}): start the build that made it, "
            "or give this one an empty database; what to keep of the old one is exported by the old build "
            "(docs/operations-journal.md)"
        )


class UnknownSession(Refusal):
    """No such session in the read model yet."""


class StaleEpoch(Refusal):
    """The pod is not the one that speaks for its agent now. Final for this pod."""


class NothingToPlay(Refusal):
    """No turn is open for this pod: the agent is done, or the pod closed its epoch."""


class AgentDone(NothingToPlay):
    """The agent gave its final answer: there is no next turn for anybody."""


class AgentIdle(NothingToPlay):
    """There is nothing to do for now, and the epoch is closed as idle: the next one comes with the next message."""


class NothingYet(Refusal):
    """There is nothing to play at this moment, and the epoch is to wait. Passes."""

    def __init__(self, round_: int, k: int, seconds: float) -> None:
        super().__init__(f"there is nothing to play yet; turn {k} of round {round_} comes next")
        self.round = round_
        self.k = k
        self.seconds = seconds
        """When to ask again, unless the session gets a commit before."""


class SessionFinished(Refusal):
    """The session takes no messages any more. Final."""


class KeyReused(Refusal):
    """Another message came with the same idempotency key. Final."""


class InboxFull(Refusal):
    """As many messages wait as may. Passes: the next turn takes them all."""


class UnknownMessage(Refusal):
    """The session has no such message, or not any more. Final."""


class MessageInPlay(Refusal):
    """An agent is answering it at this moment. Passes with the answer."""


class MessageFixed(Refusal):
    """It cannot be changed in this way. Final."""


class GoalMissing(Refusal):
    """The goal with its context was not stored yet; `set_goal_message` first."""


class TurnMismatch(Refusal):
    """A commit does not fit what the journal holds of the turn. Final."""


class UnknownCall(Refusal):
    """No such model call, or no such tool call in the answer of the open turn. Final."""


class PriceMissing(Refusal):
    """The session has a cost limit, and the model no price to hold it by."""


class CallInFlight(Refusal):
    """The same request is being bought at this moment: wait for that purchase and relay its answer."""

    def __init__(self, call_id: int, *, is_own: bool) -> None:
        super().__init__(f"the same request is being bought as call {call_id}; join that purchase")
        self.call_id = call_id
        self.is_own = is_own
        """Whether this process is the one that buys it."""


class LimitReached(Refusal):
    """A limit of the session forbids it. Recorded: the session's level shows it too."""

    def __init__(self, limit: LimitName, message: str) -> None:
        super().__init__(message)
        self.limit = limit
        self.message = message
