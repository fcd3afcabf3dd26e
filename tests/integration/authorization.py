"""Who may ask which route: one row for each route, one column for each kind of caller.

A new route needs a row; `test_authorization.py` finds those without. Most need one line, with the class of those whom
the chart's roles let in, and the status that these get (`ok`), which may be that of a question that leads nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agentsessions.api import wire
from agentsessions.api.levels import LEVELS_PATH
from agentsessions.api.spending import USAGE_PATH

PATH = "/api/v1/agent-sessions"
SESSION = f"{PATH}/{{session}}"


class Caller(StrEnum):
    """Kinds of callers. Those with a role have it in the session's namespace, by the chart's ClusterRoles."""

    NOBODY = "no token"
    EXPIRED = "expired"
    WRONG_AUDIENCE = "wrong audience"
    NEIGHBOUR = "other namespace"
    STRANGER = "no role"
    OTHER_POD = "other session's pod"
    OWN_POD = "own pod"
    NEW_POD = "pod in no status"
    VIEWER = "viewer"
    USER = "user"
    OWNER = "owner"
    SESSION_OPERATOR = "session operator"
    ADMIN = "admin"
    OPERATOR = "operator"
    """The operator's service account, with its token for the gateway."""
    OPERATOR_ELSEWHERE = "operator's plain token"
    """The same account, with the token that the API server takes: it is a person or program then."""


C = Caller
PODS = frozenset({C.OTHER_POD, C.OWN_POD, C.NEW_POD})
UNKNOWN = frozenset({C.NOBODY, C.EXPIRED, C.WRONG_AUDIENCE})
IN = 0
"""The caller is let in; the row says with which status."""

Cells = Mapping[Caller, int]


def for_people(*let_in: Caller) -> Cells:
    """Return the cells of a route for people and programs: tokens for the gateway itself are none there."""
    strange = UNKNOWN | PODS | {C.OPERATOR}
    return {caller: 401 if caller in strange else IN if caller in let_in else 403 for caller in C}


RUNS_OTHERS = (C.SESSION_OPERATOR, C.ADMIN)
READERS = (C.VIEWER, C.USER, C.OWNER, *RUNS_OTHERS)

EVERYONE: Cells = dict.fromkeys(C, IN)
READ_SESSIONS = for_people(*READERS, C.OPERATOR_ELSEWHERE)
"""get, list agentsessions."""
READ_CONTENT = for_people(*READERS)
"""get agentsessions/messages, agentsessions/events."""
CREATE = for_people(C.USER, C.OWNER, *RUNS_OTHERS)
"""create agentsessions."""
CHANGE_OWNED = for_people(C.OWNER, *RUNS_OTHERS)
"""update, patch, delete agentsessions that belong to somebody: the owner, and who has the verb own."""
TALK = CHANGE_OWNED
"""send agentsessions; update, delete agentsessions/messages of such a session."""
BRING_IN = for_people(*RUNS_OTHERS)
"""create agentsessions/import."""
DECIDE = for_people(*RUNS_OTHERS)
"""approve sessionapprovals."""
SEE_AUDIT = for_people(*RUNS_OTHERS)
"""list agentsessions/audit."""
IN_ALL_NAMESPACES = for_people()
"""Rights in the whole cluster, which none of the callers has."""
OPERATOR_ALONE: Cells = {caller: 403 if caller in PODS else IN if caller is C.OPERATOR else 401 for caller in C}
FENCED_POD: Cells = {
    caller: 425 if caller is C.NEW_POD else IN if caller in {C.OWN_POD, C.OTHER_POD} else 401 for caller in C
}
"""A pod that stands in a status. Which session it speaks for its token says, and nothing else."""


@dataclass(frozen=True)
class Row:
    """One route."""

    method: str
    path: str
    cells: Cells
    ok: int = 200
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    """`{namespace}` in a value is that of the session."""
    params: Mapping[str, str] = field(default_factory=dict)
    """Of the path, but for `session`."""
    form: Mapping[str, str] | None = None
    """A form that a page of ours sends."""
    fresh: bool = False
    """Each caller gets a session of its own to ask about: the route changes it."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


NO_MESSAGE = {"message": "none"}
NO_APPROVAL = {"approval": "none"}
NO_CHILD, REFUSED = {"uid": "none", "request_id": "none"}, {"problem": "no room"}
BOTH = {"left": "{namespace}/mine", "right": "{namespace}/theirs"}
SAID = {"content": "hello"}
TOOL_CALL = {"callId": "none", "name": "shell", "arguments": "{}", "sideEffect": "internal"}
HAVE_RUN = {"callId": "none", "name": "web__search", "arguments": "{}"}
TOOL_RESULT = {"callId": "none", "output": "", "durationMilliseconds": 1}
PAGE = "/ui/sessions/{ns}/{session}"
HERE = {"namespace": "{namespace}"}
CHAT = {"model": "none", "messages": [{"role": "user", "content": "hello"}]}

ROWS = (
    Row("GET", "/api/v1/openapi.json", EVERYONE),
    Row("GET", PATH, READ_SESSIONS),
    Row("GET", PATH, IN_ALL_NAMESPACES | {C.OPERATOR_ELSEWHERE: IN}, query={"namespace": "*"}),
    Row("GET", SESSION, READ_SESSIONS),
    Row("POST", PATH, CREATE | {C.OPERATOR_ELSEWHERE: IN}, ok=201, body={"goal": "Say hello."}),  # it makes children
    Row("POST", f"{SESSION}/clone", CREATE, ok=201),
    Row("PATCH", SESSION, CHANGE_OWNED, body={"labels": {"team": "a"}}, fresh=True),
    Row("DELETE", SESSION, CHANGE_OWNED, ok=204, fresh=True),
    Row("POST", f"{SESSION}/pause", CHANGE_OWNED, ok=202, fresh=True),
    Row("PUT", f"{SESSION}/deactivate", CHANGE_OWNED, ok=202, fresh=True),
    Row("POST", f"{SESSION}/resume", CHANGE_OWNED, fresh=True),
    Row("PUT", f"{SESSION}/activate", CHANGE_OWNED, fresh=True),
    Row("POST", f"{SESSION}/cancel", CHANGE_OWNED, ok=202, fresh=True),
    Row("POST", f"{SESSION}/shutdown", CHANGE_OWNED, ok=202, fresh=True),
    Row("GET", f"{SESSION}/verify", READ_SESSIONS),
    Row("GET", f"{SESSION}/health", READ_SESSIONS),
    Row("GET", f"{SESSION}/metrics", READ_SESSIONS),
    Row("GET", f"{SESSION}/steps", READ_CONTENT),
    Row("GET", f"{SESSION}/events", READ_CONTENT),
    Row("WS", f"{SESSION}/ws", READ_CONTENT, ok=101),
    Row("GET", f"{SESSION}/replay", READ_CONTENT, query={"speed": "0"}),
    Row("GET", f"{SESSION}/export", READ_CONTENT),
    Row("GET", f"{SESSION}/messages", READ_CONTENT),
    Row("GET", f"{SESSION}/messages/recent", READ_CONTENT),
    Row("GET", f"{SESSION}/messages/count", READ_CONTENT),
    Row("GET", f"{SESSION}/messages/{{message}}", READ_CONTENT, ok=404, params=NO_MESSAGE),
    Row("GET", f"{SESSION}/mailbox", READ_CONTENT),
    Row("POST", f"{SESSION}/messages", TALK, ok=201, body=SAID),
    Row("PATCH", f"{SESSION}/messages/{{message}}", TALK, ok=404, params=NO_MESSAGE, body=SAID),
    Row("DELETE", f"{SESSION}/messages/{{message}}", TALK, ok=404, params=NO_MESSAGE),
    Row("DELETE", f"{SESSION}/messages", TALK, fresh=True),
    Row("POST", "/api/v1/conversation", TALK, ok=202, body={"session": "mine", "message": "hello", "waitSeconds": 0}),
    Row("GET", "/api/v1/compare", READ_CONTENT, query=BOTH),
    Row("POST", "/api/v1/import", BRING_IN, ok=422),
    Row("GET", "/api/v1/stats", READ_SESSIONS),
    Row("GET", "/api/v1/stats", IN_ALL_NAMESPACES | {C.OPERATOR_ELSEWHERE: IN}, query={"namespace": "*"}),
    Row("GET", "/api/v1/metrics", READ_SESSIONS),
    Row("GET", "/api/v1/metrics", IN_ALL_NAMESPACES | {C.OPERATOR_ELSEWHERE: IN}, query={"namespace": "*"}),
    Row("GET", "/api/v1/audit", SEE_AUDIT),
    Row("GET", "/api/v1/audit", IN_ALL_NAMESPACES, query={"namespace": "*"}),
    Row("GET", "/api/v1/audit/verify", IN_ALL_NAMESPACES),
    Row("GET", "/ui", EVERYONE, ok=302),
    Row("GET", "/ui/", EVERYONE, ok=302),
    Row("GET", "/ui/static/{name}", EVERYONE, ok=404, params={"name": "none"}),
    Row("GET", "/ui/signin", EVERYONE),
    Row("POST", "/ui/signin", EVERYONE, ok=422, form={"token": ""}),
    Row("POST", "/ui/signout", EVERYONE, ok=303, form={}),
    Row("GET", "/ui/sessions", READ_SESSIONS, query=HERE),
    Row("GET", "/ui/sessions", IN_ALL_NAMESPACES | {C.OPERATOR_ELSEWHERE: IN}, query={"namespace": "*"}),
    Row("GET", "/ui/compare", READ_CONTENT, query=BOTH),
    Row("GET", PAGE, READ_CONTENT),
    Row("GET", f"{PAGE}/json", READ_SESSIONS),
    Row("GET", f"{PAGE}/events", READ_CONTENT),
    Row("GET", f"{PAGE}/export", READ_CONTENT),
    Row("POST", f"{PAGE}/pause", CHANGE_OWNED, ok=303, form={}, fresh=True),
    Row("POST", f"{PAGE}/resume", CHANGE_OWNED, ok=303, form={}, fresh=True),
    Row("POST", f"{PAGE}/cancel", CHANGE_OWNED, ok=303, form={"reason": "test"}, fresh=True),
    Row("POST", f"{PAGE}/limits", CHANGE_OWNED, ok=303, form={"field": "maxSteps", "value": "20"}, fresh=True),
    Row("POST", f"{PAGE}/messages", TALK, ok=303, form=SAID),
    *(
        Row(
            "POST", f"{PAGE}/approvals/{{approval}}/{word}", DECIDE, ok=404, params=NO_APPROVAL, form={"output": "done"}
        )
        for word in ("approve", "deny", "happened", "run-again")
    ),
    Row("GET", "/api/v1/templates", READ_SESSIONS),
    Row("GET", "/api/v1/templates", IN_ALL_NAMESPACES | {C.OPERATOR_ELSEWHERE: IN}, query={"namespace": "*"}),
    Row("GET", "/api/v1/approvals", READ_SESSIONS),
    Row("GET", "/api/v1/approvals", IN_ALL_NAMESPACES | {C.OPERATOR_ELSEWHERE: IN}, query={"namespace": "*"}),
    *(
        Row("POST", f"/api/v1/approvals/{{approval}}/{act}", DECIDE, ok=404, params=NO_APPROVAL, body=body)
        for act, body in {"approve": {}, "deny": {}, "happened": {"output": "done"}, "run-again": {}}.items()
    ),
    Row("GET", LEVELS_PATH, OPERATOR_ALONE),
    Row("GET", f"{LEVELS_PATH}/{{uid}}", OPERATOR_ALONE, ok=404, params={"uid": "none"}),
    Row("POST", f"{LEVELS_PATH}/{{uid}}/source", OPERATOR_ALONE, ok=404, params={"uid": "none"}),
    Row(
        "POST", f"{LEVELS_PATH}/{{uid}}/children/{{request_id}}", OPERATOR_ALONE, ok=404, params=NO_CHILD, body=REFUSED
    ),
    Row("GET", USAGE_PATH, OPERATOR_ALONE, query={"namespace": "default"}),
    Row("GET", wire.TURN_PATH, FENCED_POD),
    Row("POST", wire.COMMIT_PATH, FENCED_POD, ok=412, body={"k": 99, "outcome": "final"}),
    Row("POST", wire.TOOL_BEGIN_PATH, FENCED_POD, ok=404, body=TOOL_CALL),
    Row("POST", wire.TOOL_SETTLE_PATH, FENCED_POD, ok=404, body=TOOL_RESULT),
    Row("POST", wire.TOOL_CALL_PATH, FENCED_POD, ok=404, body=HAVE_RUN),
    Row("GET", f"{wire.OPENAI_PATH}/models", FENCED_POD),
    Row("POST", f"{wire.OPENAI_PATH}/chat/completions", FENCED_POD, ok=404, body=CHAT),
)
