"""The gateway's routes as values: what to send, and how to read the answer. Pure; both clients send these."""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from agentsessions.client.decode import DecodeError, decode
from agentsessions.client.errors import AgentSessionsError, ApiError
from agentsessions.client.figures import Comparison, Health, Imported, Metrics, Performance, Stats
from agentsessions.client.values import Json, Message, MessagePage, Reply, Session, SessionPage, StepPage, Verification

T = TypeVar("T")

ROOT: Final = "/api/v1"
SESSIONS: Final = f"{ROOT}/agent-sessions"
EVENT_STREAM: Final = "text/event-stream"
EXPORT: Final = "application/zstd"
"""Form of an exported session."""
MOST: Final = 1000
"""Items of a page at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request."""

    method: str
    path: str
    read: Callable[[bytes], T]
    """Makes the body of a 2xx answer a value."""
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    """JSON to send."""
    content: bytes | None = None
    """Bytes to send instead."""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True
    """Whether sending it twice is as good as once."""

    def params(self) -> dict[str, Any]:
        """Return the query without what was not asked for."""
        return {key: value for key, value in self.query.items() if value is not None}


def session_path(session: str, *rest: str) -> str:
    """Return the path of a session, by name or uid."""
    return "/".join((SESSIONS, quote(session, safe=""), *(quote(part, safe="") for part in rest)))


def to_error(status: int, body: bytes, retry_after: str | None) -> ApiError:
    """Return the refusal that an answer says."""
    try:
        problem = json.loads(body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": body[:200].decode(errors="replace").strip()}
    detail = str(problem.get("detail") or f"the gateway answered {status}")
    seconds = float(retry_after) if retry_after and retry_after.isdigit() else None
    return ApiError(status, str(problem.get("code") or "http_error"), detail, retry_after=seconds)


def read_answer(call: Call[T], body: bytes) -> T:
    """Return the value of a 2xx answer.

    Raises:
        AgentSessionsError: It is not what the gateway's document says.
    """
    try:
        return call.read(body)
    except (ValueError, DecodeError) as error:
        raise AgentSessionsError(
            f"{call.method} {call.path} was answered in a form that this client does not know ({error}): "
            "is it a gateway of this version?"
        ) from error


def _of(kind: type[T]) -> Callable[[bytes], T]:
    return lambda body: decode(kind, json.loads(body))


def _nothing(_: bytes) -> None:
    return None


# --- sessions


def create_session(namespace: str, spec: Json) -> Call[Session]:
    """Create a session; `spec` may hold `name` and `labels` beside the spec's fields. Named, it may be sent again."""
    return Call(
        method="POST", path=SESSIONS, query={"namespace": namespace}, body=spec, read=_of(Session), is_repeatable=False
    )


def clone_session(namespace: str, session: str, wanted: Json) -> Call[Session]:
    """Create a session from another one."""
    path = session_path(session, "clone")
    query = {"namespace": namespace}
    return Call(method="POST", path=path, query=query, body=wanted, read=_of(Session), is_repeatable=False)


def list_sessions(namespace: str, filters: Mapping[str, Any]) -> Call[SessionPage]:
    """List sessions."""
    return Call(method="GET", path=SESSIONS, query={"namespace": namespace, **filters}, read=_of(SessionPage))


def get_session(namespace: str, session: str) -> Call[Session]:
    """Read one session."""
    return Call(method="GET", path=session_path(session), query={"namespace": namespace}, read=_of(Session))


def patch_session(namespace: str, session: str, patch: Json) -> Call[Session]:
    """Change a session by a merge patch."""
    return Call(
        method="PATCH", path=session_path(session), query={"namespace": namespace}, body=patch, read=_of(Session)
    )


def delete_session(namespace: str, session: str) -> Call[None]:
    """Delete a session's resource."""
    return Call(
        method="DELETE",
        path=session_path(session),
        query={"namespace": namespace},
        read=_nothing,
        is_repeatable=False,
    )


def act_on_session(namespace: str, session: str, act: str, body: Json | None = None) -> Call[Session]:
    """Pause, resume, cancel or shut down a session."""
    return Call(
        method="POST", path=session_path(session, act), query={"namespace": namespace}, body=body, read=_of(Session)
    )


# --- what was said and done


def list_steps(namespace: str, session: str, after: int = 0, limit: int = MOST) -> Call[StepPage]:
    """Read a page of steps."""
    query = {"namespace": namespace, "after": after, "limit": limit}
    return Call(method="GET", path=session_path(session, "steps"), query=query, read=_of(StepPage))


def list_messages(namespace: str, session: str, after: int = 0, limit: int = MOST) -> Call[MessagePage]:
    """Read a page of messages."""
    query = {"namespace": namespace, "after": after, "limit": limit}
    return Call(method="GET", path=session_path(session, "messages"), query=query, read=_of(MessagePage))


def get_message(namespace: str, session: str, message: str) -> Call[Message]:
    """Read one message."""
    path = session_path(session, "messages", message)
    return Call(method="GET", path=path, query={"namespace": namespace}, read=_of(Message))


def create_message(namespace: str, session: str, content: str, key: str | None = None) -> Call[Message]:
    """Say something. Under its key it may be sent again."""
    body = {"content": content, "idempotencyKey": key or str(uuid.uuid4())}
    path = session_path(session, "messages")
    return Call(method="POST", path=path, query={"namespace": namespace}, body=body, read=_of(Message))


def converse(namespace: str, body: Json, key: str | None = None) -> Call[Reply]:
    """Say something, to a session that is made when there is none, and wait for the answer."""
    said = {**body, "idempotencyKey": key or str(uuid.uuid4())}
    return Call(method="POST", path=f"{ROOT}/conversation", query={"namespace": namespace}, body=said, read=_of(Reply))


def verify(namespace: str, session: str) -> Call[Verification]:
    """Check a session's hash chain."""
    path = session_path(session, "verify")
    return Call(method="GET", path=path, query={"namespace": namespace}, read=_of(Verification))


def stream_events(namespace: str, session: str, after: int) -> Call[None]:
    """Follow a session."""
    return _stream(session_path(session, "events"), {"namespace": namespace, "after": after})


def stream_replay(namespace: str, session: str, after: int, speed: float | None) -> Call[None]:
    """See a session again, at its own pace or another."""
    return _stream(session_path(session, "replay"), {"namespace": namespace, "from": after + 1, "speed": speed})


def _stream(path: str, query: Json) -> Call[None]:
    return Call(method="GET", path=path, query=query, headers={"Accept": EVENT_STREAM}, read=_nothing)


# --- figures, and whole sessions


def get_stats(namespace: str) -> Call[Stats]:
    """Count sessions."""
    return Call(method="GET", path=f"{ROOT}/stats", query={"namespace": namespace}, read=_of(Stats))


def get_metrics(namespace: str, period: str) -> Call[Metrics]:
    """Sum up a period."""
    query = {"namespace": namespace, "period": period}
    return Call(method="GET", path=f"{ROOT}/metrics", query=query, read=_of(Metrics))


def get_health(namespace: str, session: str) -> Call[Health]:
    """Say how a session fares."""
    path = session_path(session, "health")
    return Call(method="GET", path=path, query={"namespace": namespace}, read=_of(Health))


def get_performance(namespace: str, session: str) -> Call[Performance]:
    """Say what a session achieved."""
    path = session_path(session, "metrics")
    return Call(method="GET", path=path, query={"namespace": namespace}, read=_of(Performance))


def compare(namespace: str, left: str, right: str) -> Call[Comparison]:
    """Lay two sessions side by side; one of another namespace is `namespace/name`."""
    sides = {side: one if "/" in one else f"{namespace}/{one}" for side, one in (("left", left), ("right", right))}
    return Call(method="GET", path=f"{ROOT}/compare", query=sides, read=_of(Comparison))


def export_session(namespace: str, session: str) -> Call[bytes]:
    """Read a whole session as a document."""
    return Call(method="GET", path=session_path(session, "export"), query={"namespace": namespace}, read=bytes)


def import_session(namespace: str, document: bytes) -> Call[Imported]:
    """Store an exported session."""
    return Call(
        method="POST",
        path=f"{ROOT}/import",
        query={"namespace": namespace},
        content=document,
        headers={"Content-Type": EXPORT},
        read=_of(Imported),
        is_repeatable=False,
    )
