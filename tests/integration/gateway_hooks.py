"""What schemathesis must know of the gateway: where the sessions are, and what would only take time.

Loaded by the `schemathesis` program that `test_gateway_schema.py` runs ($SCHEMATHESIS_HOOKS). What a hook replaces is
allowed before and after: else what must be refused would not be, or the other way round.
"""

import os
import re
import zlib
from typing import Any, Final

import schemathesis
import zstandard

SESSIONS: Final = os.environ["AGENTSESSIONS_TEST_SESSIONS"].split(",")
SPARE: Final = os.environ["AGENTSESSIONS_TEST_SPARE_SESSIONS"].split(",")
MESSAGES: Final = os.environ["AGENTSESSIONS_TEST_MESSAGES"].split(",")
"""Ids of messages of the first session."""
HOME: Final = os.environ["AGENTSESSIONS_TEST_NAMESPACE"]
NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SESSION: Final = "/api/v1/agent-sessions/{session}"
ENDING: Final = frozenset(
    {
        ("delete", SESSION),
        ("patch", SESSION),
        ("post", f"{SESSION}/cancel"),
        ("post", f"{SESSION}/shutdown"),
        ("delete", f"{SESSION}/messages"),
    }
)
"""What may leave a session that most other requests are refused for."""
MESSAGE: Final = f"{SESSION}/messages/{{message}}"
MESSAGE_ID: Final = re.compile("[A-Za-z0-9-]{1,64}")
APPROVAL: Final = "/api/v1/approvals/{approval}/"
DECIDED: Final = {
    **dict.fromkeys(("approve", "deny"), os.environ["AGENTSESSIONS_TEST_ASKED"].split(",")),
    **dict.fromkeys(("happened", "run-again"), os.environ["AGENTSESSIONS_TEST_IN_DOUBT"].split(",")),
}
"""Calls that wait for a person, by the answers that they take."""
COMPARE: Final = "/api/v1/compare"
COMPARED: Final = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[^/]{1,253}")
CONVERSATION: Final = "/api/v1/conversation"
MAX_WAIT_SECONDS: Final = 120
MAX_SPEED: Final = 10_000
MAX_NAME: Final = 253
Parameters = dict[str, Any]


@schemathesis.serializer("application/zstd")
def to_file(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Return an import's body: of two texts one compressed, so that more than the first byte is looked at."""
    del context
    content = str(value).encode(errors="replace")
    return zstandard.compress(content) if len(content) % 2 else content


@schemathesis.hook
def map_query(context: schemathesis.HookContext, query: Parameters | None) -> Parameters | None:
    """Leave out a namespace that could be: nothing is there but in the one of the header. Tell at once, not slowly."""
    if query and NAMESPACE.fullmatch(str(query.get("namespace", ""))):
        del query["namespace"]
    if query and _is_number(query.get("speed"), MAX_SPEED):
        query["speed"] = 0
    for name in ("left", "right") if query and context.operation.path == COMPARE else ():
        if isinstance(wanted := query.get(name), str) and COMPARED.fullmatch(wanted):
            query[name] = f"{HOME}/{_pick(SESSIONS, wanted)}"
    return query


@schemathesis.hook
def filter_query(context: schemathesis.HookContext, query: Parameters | None) -> bool:
    """Leave out parameters without a name: HTTP knows none, so they are ignored, and are no refusal to expect."""
    del context
    return not query or "" not in query


@schemathesis.hook
def map_headers(context: schemathesis.HookContext, headers: Parameters | None) -> Parameters | None:
    """Likewise for the header, which would replace the test's own."""
    del context
    given = headers or {}
    for name in [name for name in given if name.lower() == "x-namespace" and NAMESPACE.fullmatch(str(given[name]))]:
        del given[name]
    return headers


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: Parameters | None) -> Parameters | None:
    """Name a session that is there, three times of four; one that is not missed, where it may end."""
    if path_parameters and context.operation.path == MESSAGE and context.operation.method.lower() != "delete":
        return _to_message(path_parameters)
    if path_parameters and context.operation.path.startswith(APPROVAL):
        return _to_approval(path_parameters, context.operation.path.removeprefix(APPROVAL))
    wanted = (path_parameters or {}).get("session")
    if path_parameters and isinstance(wanted, str) and 1 <= len(wanted) <= MAX_NAME:
        ending = (context.operation.method.lower(), context.operation.path) in ENDING
        choices = [*(SPARE if ending else SESSIONS), wanted]
        path_parameters["session"] = _pick(choices, wanted)
    return path_parameters


def _to_message(path_parameters: Parameters) -> Parameters:
    wanted = path_parameters.get("message")
    if isinstance(wanted, str) and MESSAGE_ID.fullmatch(wanted):
        path_parameters |= {"message": _pick(MESSAGES, wanted), "session": SESSIONS[0]}
    return path_parameters


def _to_approval(path_parameters: Parameters, answer: str) -> Parameters:
    wanted = path_parameters.get("approval")
    if isinstance(wanted, str) and 1 <= len(wanted) <= MAX_NAME:
        path_parameters["approval"] = _pick([*DECIDED[answer], wanted], wanted)
    return path_parameters


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """Wait for no reply, for the examples of the document neither: no agent runs."""
    del context, kwargs
    if case.operation.path == CONVERSATION and isinstance(body := case.body, dict):
        if _is_number(body.get("waitSeconds", 1), MAX_WAIT_SECONDS):
            body["waitSeconds"] = 0
        if body.get("stream") is True:
            body["stream"] = False


def _pick(choices: list[str], wanted: str) -> str:
    return choices[zlib.crc32(wanted.encode(errors="replace")) % len(choices)]


def _is_number(value: object, most: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
