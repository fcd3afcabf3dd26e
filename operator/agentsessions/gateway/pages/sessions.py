"""One session: its header, what it did, what is said in it; as it is, or as it was at an entry."""

import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Request
from fastapi.responses import Response

from agentsessions.gateway.auth import SESSIONS, User
from agentsessions.gateway.callers import require_owner
from agentsessions.gateway.lookup import (
    DEFAULT_NAMESPACE,
    MAX_NUMBER,
    NAMESPACE_PATTERN,
    SessionId,
    TheGateway,
    TheNamespace,
    TheUser,
    find_session,
)
from agentsessions.gateway.message_acts import MESSAGES, SEND
from agentsessions.gateway.pages import summary
from agentsessions.gateway.pages.chart import draw
from agentsessions.gateway.pages.render import PART, answer_page
from agentsessions.gateway.pages.timeline import build_timeline, is_said, lanes_of
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.routes.approvals import APPROVALS
from agentsessions.gateway.routes.history import compare_sessions
from agentsessions.gateway.state import Gateway
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.tail import look

TAIL: Final = 300
"""Entries of a page: the newest; older ones are asked for."""
CONVERSATION: Final = "conversation"
ONE: Final = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[^/]{1,253}$"


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a session a page shows."""

    at: int | None
    """It is as it was at this entry; None for now."""
    before: int | None
    """It ends in front of this one; None for the newest."""
    view: str
    """What of it: all that happened, or the conversation."""
    seen: int
    """Blocks that ended with this entry or before it are there already: they are left out."""

    def url(self, **changes: Any) -> str:
        """Return the query of the same page with something changed."""
        values = {"at": self.at, "before": self.before, "view": self.view} | changes
        return "&".join(f"{name}={value}" for name, value in values.items() if value is not None and value != "")


async def window_of(
    at: Annotated[int | None, Query(ge=0, le=MAX_NUMBER)] = None,
    before: Annotated[int | None, Query(ge=1, le=MAX_NUMBER)] = None,
    view: Annotated[str, Query(pattern=f"^({CONVERSATION})?$")] = "",
    x_seen: Annotated[int, Header(ge=0, le=MAX_NUMBER)] = 0,
) -> Window:
    """Return what the address asks for (a FastAPI dependency)."""
    return Window(at, before, view, x_seen)


async def show_session(
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    namespace: TheNamespace,
    session: SessionId,
    window: Annotated[Window, Depends(window_of)],
) -> Response:
    """Show one session (needs `get` on `agentsessions` and `agentsessions/messages`)."""
    row = await find_session(gateway, user, session, namespace)
    await gateway.auth.require(user, "get", MESSAGES, namespace, row.name)
    values = await _to_values(gateway, row, window)
    template = "_session.html" if PART in request.headers else "session.html"
    return await answer_page(
        request,
        template,
        address=f"/ui/sessions/{row.namespace}/{row.uid}",
        user=user,
        rights=await _rights(gateway, user, row, is_asked=bool(values["asked"])),
        key=uuid.uuid4().hex,
        **values,
    )


async def _to_values(gateway: Gateway, row: SessionRow, window: Window) -> dict[str, Any]:
    head = row.usage.head
    until = head if window.at is None else min(window.at, head)
    behind = until + 1 if window.before is None else min(window.before, until + 1)
    seen = await gateway.store.read(look, row.uid, until, behind, TAIL)
    blocks = build_timeline(seen.entries)
    first = seen.entries[0].seq if seen.entries else 0
    return {
        "row": row,
        "window": window,
        "phase": summary.phase_at(row, seen.standing, is_now=window.at is None),
        "is_replay": window.at is not None,
        "head": head,
        "until": until,
        "first": first,
        "older": first if first > 1 else None,
        "lanes": lanes_of(_agents_of(row), blocks),
        "blocks": [
            block
            for block in blocks
            if block.last_seq > window.seen and (window.view != CONVERSATION or is_said(block))
        ],
        "gauges": summary.to_gauges(seen.standing, row.limits),
        "advice": summary.advice(row),
        "commands": summary.to_commands(row),
        "acts": [act.value for act in summary.to_acts(row)],
        "raised": summary.to_raise(row),
        "is_over": summary.is_over(row),
        "chart": draw([step.tokens for step in seen.standing.steps], row.limits.max_tokens),
        "queued": seen.queued,
        "asked": gateway.proxy.decisions.asked_of(row.uid),
    }


def _agents_of(row: SessionRow) -> list[str]:
    """Return the names of the spec's agents; nobody held an imported spec to the schema."""
    agents = row.spec.get("agents")
    return [str(one.get("name", "")) for one in agents if isinstance(one, dict)] if isinstance(agents, list) else []


@dataclass(frozen=True, slots=True)
class Rights:
    """Why the caller may not do something; None where they may."""

    steer: str | None
    send: str | None
    decide: str | None = None


async def _rights(gateway: Gateway, user: User, row: SessionRow, *, is_asked: bool) -> Rights:
    if summary.is_over(row):
        return Rights(None, None)
    owns = await _why_not(require_owner(gateway, user, row))
    return Rights(
        await _why_not(gateway.auth.require(user, "patch", SESSIONS, row.namespace, row.name)) or owns,
        await _why_not(gateway.auth.require(user, *SEND, row.namespace, row.name)) or owns,
        await _why_not(gateway.auth.require(user, "approve", APPROVALS, row.namespace)) if is_asked else None,
    )


async def _why_not(asking: Awaitable[None]) -> str | None:
    try:
        await asking
    except ProblemError as problem:
        if problem.code != ProblemCode.FORBIDDEN:
            raise
        return problem.detail
    return None


async def show_comparison(
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    left: Annotated[str, Query(pattern=ONE)],
    right: Annotated[str, Query(pattern=ONE)],
    namespace: Annotated[str, Query(pattern=NAMESPACE_PATTERN)] = DEFAULT_NAMESPACE,
) -> Response:
    """Lay two sessions side by side (needs `get` on `agentsessions/messages` of both)."""
    first, second = (one if "/" in one else f"{namespace}/{one}" for one in (left, right))
    found = await compare_sessions(gateway, user, first, second)
    return await answer_page(request, "compare.html", found=found, user=user)
