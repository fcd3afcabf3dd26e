"""Every code of a problem, in one table: status, title, what it means and what to do. Programs branch on codes.

Three closed sets: `ProblemCode` for people and programs; `RefusalCode` and `ErrorCode` for runners, which share them
with the gateway. A word may stand in two of them, with another status: a finished session is a conflict for a person,
and the end for its pod. docs/api.md shows the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agentsessions.api.reasons import ErrorCode, RefusalCode


class ProblemCode(StrEnum):
    """Why a request of a person or program is refused, or a pod's is not even understood."""

    BAD_REQUEST = "bad_request"
    BAD_CURSOR = "bad_cursor"
    NOT_JSON = "not_json"
    NO_MODEL = "no_model"
    NO_MESSAGES = "no_messages"
    BAD_MAX_TOKENS = "bad_max_tokens"
    UNSUPPORTED_FIELD = "unsupported_field"
    UNSUPPORTED_TOOL = "unsupported_tool"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    MODEL_NOT_FOUND = "model_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_SLOW = "too_slow"
    CONFLICT = "conflict"
    ALREADY_EXISTS = "already_exists"
    DUPLICATE_ID = "duplicate_id"
    SESSION_EXISTS = "session_exists"
    SESSION_FINISHED = "session_finished"
    ILLEGAL_STATE = "illegal_state"
    KEY_REUSED = "key_reused"
    BEING_ANSWERED = "being_answered"
    NOT_CHANGEABLE = "not_changeable"
    NOT_ANSWERED = "not_answered"
    TOO_LARGE = "too_large"
    INVALID_REQUEST = "invalid_request"
    BAD_ARCHIVE = "bad_archive"
    TOO_LONG = "too_long"
    RATE_LIMITED = "rate_limited"
    INBOX_FULL = "inbox_full"
    TOO_MANY_STREAMS = "too_many_streams"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"


Code = ProblemCode | RefusalCode | ErrorCode


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of one code have in common."""

    status: int
    """HTTP status."""
    title: str
    """A few words."""
    meaning: str
    """What was found."""
    remedy: str
    """What to do."""


P = ProblemCode
PROBLEMS: Final[Mapping[ProblemCode, Kind]] = {
    P.BAD_REQUEST: Kind(
        400, "Bad request", "Parts of the request contradict each other, or HTTP is not kept to.", "Read `detail`."
    ),
    P.BAD_CURSOR: Kind(400, "Bad cursor", "`cursor` is not `next` of a page in this order.", "Begin again without it."),
    P.NOT_JSON: Kind(400, "Request not allowed", "A pod's request for a model is no JSON object.", "Send one."),
    P.NO_MODEL: Kind(400, "Request not allowed", "A pod's request names no model.", "Name one of the provider's."),
    P.NO_MESSAGES: Kind(400, "Request not allowed", "A pod's request has no messages.", "Send at least one."),
    P.BAD_MAX_TOKENS: Kind(
        400, "Request not allowed", "The cap of a pod's request is no number from 1.", "Send one, or none."
    ),
    P.UNSUPPORTED_FIELD: Kind(
        400, "Request not allowed", "A pod's request has a field that is not passed on.", "Leave it out."
    ),
    P.UNSUPPORTED_TOOL: Kind(
        400, "Request not allowed", "A pod's request has a tool that is no function.", "Offer functions alone."
    ),
    P.UNAUTHENTICATED: Kind(
        401, "Not authenticated", "There is no bearer token, or none that is taken here.", "Send a fresh token."
    ),
    P.FORBIDDEN: Kind(
        403,
        "Not allowed",
        "The caller lacks a right, or the session belongs to somebody else.",
        "Ask for the right that `detail` names.",
    ),
    P.NOT_FOUND: Kind(
        404, "Not found", "There is no such thing, or not for this caller.", "Look at the list; check the namespace."
    ),
    P.MODEL_NOT_FOUND: Kind(
        404, "Model not found", "The provider has no model of this name.", "Choose one that `detail` lists."
    ),
    P.METHOD_NOT_ALLOWED: Kind(
        405, "Method not allowed", "The route has no such method.", "Look it up in `/api/v1/openapi.json`."
    ),
    P.TOO_SLOW: Kind(408, "Too slow", "A file did not arrive in time.", "Send it again over a faster connection."),
    P.CONFLICT: Kind(
        409, "Changed meanwhile", "The session changed between reading and writing.", "Read it, then try again."
    ),
    P.ALREADY_EXISTS: Kind(
        409, "There is one already", "The namespace has a resource of this name.", "Choose another name."
    ),
    P.DUPLICATE_ID: Kind(
        409,
        "Id is taken",
        "The owner has a session with this `sessionId`.",
        "Use that session, delete it, or choose another id.",
    ),
    P.SESSION_EXISTS: Kind(
        409, "Session exists", "The journal has the session that is to be imported.", "Read the one that is there."
    ),
    P.SESSION_FINISHED: Kind(
        409, "Session is over", "The session is finished or deleted; its journal can be read.", "Create a new one."
    ),
    P.ILLEGAL_STATE: Kind(
        409,
        "Not in this state",
        "What is asked for is not possible in the session's phase.",
        "Read the session; create a new one if it is finished.",
    ),
    P.KEY_REUSED: Kind(
        409, "Key was used before", "The idempotency key belongs to another message.", "Send a key of its own."
    ),
    P.BEING_ANSWERED: Kind(
        409, "Message is being answered", "An agent is at work on the message.", "Try again after its turn."
    ),
    P.NOT_CHANGEABLE: Kind(
        409, "Message cannot be changed", "Messages of this kind stay as they are.", "Change another, or say more."
    ),
    P.NOT_ANSWERED: Kind(
        409, "Not answered", "The session ended before it answered.", "Create a new session to go on."
    ),
    P.TOO_LARGE: Kind(413, "Too large", "Body, message or file is larger than allowed.", "Send less."),
    P.INVALID_REQUEST: Kind(
        422,
        "Request not valid",
        "The request breaks the schema or a rule of the resource.",
        "Correct the fields that `detail` names.",
    ),
    P.BAD_ARCHIVE: Kind(
        422, "File refused", "The file to import is damaged, or no session's.", "Export the session again."
    ),
    P.TOO_LONG: Kind(422, "Too long", "A session has more steps than are compared at once.", "Compare round by round."),
    P.RATE_LIMITED: Kind(
        429, "Too many requests", "The user asked for more in a minute than allowed.", "Wait for `Retry-After`."
    ),
    P.INBOX_FULL: Kind(
        429, "Too many messages wait", "The session has not yet answered what it was sent.", "Wait for `Retry-After`."
    ),
    P.TOO_MANY_STREAMS: Kind(
        429, "Too many streams", "The user has as many live streams open as allowed.", "Close one."
    ),
    P.INTERNAL: Kind(
        500,
        "Internal error",
        "The gateway failed; its log has the cause, under the request's id.",
        "Try again later, and report it.",
    ),
    P.UNAVAILABLE: Kind(
        503,
        "Not available now",
        "The journal, the API server or the gateway itself is away for a moment.",
        "Wait for `Retry-After`.",
    ),
}

_GONE: Final = "The pod ends."
_LIMIT: Final = "The session stops; raise the limit to let it go on."
REFUSALS: Final[Mapping[RefusalCode, Kind]] = {
    RefusalCode.NOT_FENCED: Kind(
        425, "Pod not known yet", "The pod stands in no session's status yet.", "Ask again in a second."
    ),
    RefusalCode.STALE_EPOCH: Kind(
        412, "Not this agent's pod any more", "Another pod plays the agent, or nobody does.", _GONE
    ),
    RefusalCode.OTHER_AGENT: Kind(
        403, "Another pod's agent", "The pod is not one of those that play the agent.", "Leave its header out."
    ),
    RefusalCode.SESSION_FINISHED: Kind(412, "Session is over", "The session is finished or deleted.", _GONE),
    RefusalCode.SESSION_CANCELLED: Kind(412, "Session is cancelled", "A person cancelled the session.", _GONE),
    RefusalCode.SESSION_PAUSED: Kind(
        412,
        "Session is paused",
        "The session pauses, and a call waits for another agent.",
        "The pod must end; the call is taken up when the session goes on.",
    ),
    RefusalCode.NOTHING_TO_PLAY: Kind(412, "No turn to play", "No turn of the agent is open.", "Ask for the turn."),
    RefusalCode.TURN_MISMATCH: Kind(412, "Not the open turn", "Another turn is open.", "Ask for the turn."),
    RefusalCode.UNKNOWN_CALL: Kind(404, "No such tool call", "The model asked for no such call.", "Ask for the turn."),
    RefusalCode.STEP_LIMIT: Kind(402, "Limit reached", "The session took its steps.", _LIMIT),
    RefusalCode.TOKEN_LIMIT: Kind(402, "Limit reached", "The session used its tokens.", _LIMIT),
    RefusalCode.TOOL_CALL_LIMIT: Kind(402, "Limit reached", "The session made its tool calls.", _LIMIT),
    RefusalCode.COST_LIMIT: Kind(402, "Limit reached", "The session spent its money.", _LIMIT),
}

_FAILED: Final = "Model call failed"
_LATER: Final = "The epoch ends; the session tries again by its `retry`."
FAULTS: Final[Mapping[ErrorCode, Kind]] = {
    ErrorCode.RATE_LIMITED: Kind(503, _FAILED, "The provider takes no more requests now.", _LATER),
    ErrorCode.OVERLOADED: Kind(503, _FAILED, "The provider is overloaded.", _LATER),
    ErrorCode.NETWORK: Kind(503, _FAILED, "The provider was not reached, or broke off.", _LATER),
    ErrorCode.CONTEXT_TOO_LONG: Kind(
        400, _FAILED, "The conversation is longer than the model takes.", "The session fails; begin one anew."
    ),
    ErrorCode.MODEL_ERROR: Kind(
        502,
        _FAILED,
        "The provider refused, or answered what is no answer; with 403 the model has no price.",
        "Read `detail`: key, model or price may be wrong.",
    ),
    ErrorCode.EMPTY_ANSWER: Kind(502, _FAILED, "The model answered nothing.", _LATER),
}
"""What a purchase fails with. The other members say how epochs end, and are no answers."""


def kind_of(code: Code) -> Kind:
    """Return what all problems of a code have in common."""
    match code:
        case ProblemCode():
            return PROBLEMS[code]
        case RefusalCode():
            return REFUSALS[code]
        case ErrorCode():
            return FAULTS[code]
