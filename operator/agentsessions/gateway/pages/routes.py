"""The page's routes: an application of its own below /ui, whose refusals are pages too."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import SessionType
from agentsessions.gateway.auth import SESSIONS, User
from agentsessions.gateway.lookup import (
    ALL_NAMESPACES,
    DEFAULT_NAMESPACE,
    NAMESPACE_PATTERN,
    SessionId,
    TheGateway,
    TheUser,
    find_session,
)
from agentsessions.gateway.pages import summary
from agentsessions.gateway.pages.assets import Asset, load_assets
from agentsessions.gateway.pages.chart import draw
from agentsessions.gateway.pages.markup import to_html
from agentsessions.gateway.pages.timeline import build_timeline
from agentsessions.gateway.problems import ProblemError, not_found
from agentsessions.gateway.state import Gateway
from agentsessions.journal.entries import EntryType
from agentsessions.journal.rows import SessionQuery, SessionRow
from agentsessions.journal.tail import Standing, read_before, read_of_types, read_standing

TEMPLATES: Final = Path(__file__).parent / "templates"
PAGE: Final = 50
"""Sessions of a list's page."""
TAIL: Final = 300
"""Entries of a session's page: the newest; older ones a page further."""
MOST_NEEDED: Final = 50
SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
PART: Final = "X-Part"
"""Header by which the script asks for a part of a page."""

Namespace = Annotated[str, PathParameter(pattern=NAMESPACE_PATTERN)]


@dataclass(frozen=True, slots=True)
class Window:
    """Which entries of a session a page shows."""

    at: int | None
    """The page is as it was at this entry; None for now."""
    before: int | None
    """They end in front of this one; None for the newest."""


def window_of(
    at: Annotated[int | None, Query(ge=0, le=2**53)] = None, before: Annotated[int | None, Query(ge=1, le=2**53)] = None
) -> Window:
    """Return what the URL asks for (a FastAPI dependency)."""
    return Window(at, before)


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list shows, as its URL says."""

    namespace: str
    phase: Phase | None
    type: SessionType | None
    text: str
    offset: int

    def url(self, **changes: Any) -> str:
        """Return the query of the same list with something changed."""
        values = {"namespace": self.namespace, "phase": self.phase, "type": self.type, "text": self.text}
        values |= {"offset": self.offset or None} | changes
        return "?" + urlencode({name: str(value) for name, value in values.items() if value})


class Pages:
    """Renders templates with what all of them share."""

    def __init__(self) -> None:
        self.assets: dict[str, Asset] = load_assets()
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(default=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["markdown"] = to_html
        self._environment.filters["money"] = summary.to_money
        self._environment.globals |= {
            "asset": lambda name: self.assets[name].url,
            "to_age": summary.to_age,
            "needs_person": summary.needs_person,
        }

    def render(self, template: str, status: int = 200, **values: Any) -> Response:
        """Return a template as an answer."""
        html = self._environment.get_template(template).render(now=datetime.now(UTC), **values)
        return HTMLResponse(html, status, headers=SECURITY)


def create_pages(gateway: Gateway) -> FastAPI:
    """Return the application, to be mounted at /ui."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.gateway = gateway
    app.state.pages = Pages()
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_api_route("", _home)
    app.add_api_route("/", _home)
    app.add_api_route("/static/{name}", _static)
    app.add_api_route("/sessions", show_list)
    app.add_api_route("/sessions/{namespace}/{session}", show_session)
    return app


def pages_of(request: Request) -> Pages:
    """Return what renders."""
    pages: Pages = request.app.state.pages
    return pages


async def _home() -> Response:
    return RedirectResponse("/ui/sessions", status_code=302)


async def _static(request: Request, name: str) -> Response:
    asset = pages_of(request).assets.get(name)
    if asset is None:
        raise not_found(f"There is no file {name!r}.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(asset.content, media_type=asset.media_type, headers=headers)


async def show_list(  # noqa: PLR0913, PLR0917 - the filters of a list; FastAPI passes them by name
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    namespace: Annotated[str, Query(pattern=NAMESPACE_PATTERN)] = DEFAULT_NAMESPACE,
    phase: Phase | None = None,
    type: SessionType | None = None,  # noqa: A002 - its name in the URL
    text: Annotated[str, Query(max_length=256)] = "",
    offset: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
) -> Response:
    """Show sessions: first those that wait for a person, then the newest."""
    filters = Filters(namespace, phase, type, text, offset)
    namespaces = await _namespaces(gateway, user, namespace)
    query = SessionQuery(namespaces=namespaces, phase=phase, type=type, text=text or None, limit=PAGE, offset=offset)
    page = await gateway.store.list_sessions(query)
    needed = [] if offset else await _find_needed(gateway, query)
    values: dict[str, Any] = {"filters": filters, "needed": needed, "page": page, "size": PAGE, "user": user}
    template = "_rows.html" if request.headers.get(PART) == "rows" else "list.html"
    return pages_of(request).render(template, phases=list(Phase), types=list(SessionType), **values)


async def _namespaces(gateway: Gateway, user: User, namespace: str) -> frozenset[str] | None:
    everywhere = namespace == ALL_NAMESPACES
    await gateway.auth.require(user, "list", SESSIONS, "" if everywhere else namespace)
    return None if everywhere else frozenset({namespace})


async def _find_needed(gateway: Gateway, query: SessionQuery) -> list[SessionRow]:
    found: list[SessionRow] = []
    for phase in (Phase.WAITING, Phase.PAUSED):
        if query.phase in {None, phase}:
            page = await gateway.store.list_sessions(replace(query, phase=phase, limit=MOST_NEEDED))
            found += [row for row in page.items if summary.needs_person(row)]
    return found


async def show_session(
    request: Request,
    gateway: TheGateway,
    user: TheUser,
    namespace: Namespace,
    session: SessionId,
    window: Annotated[Window, Depends(window_of)],
) -> Response:
    """Show one session as it is, or as it was at an entry."""
    row = await find_session(gateway, user, session, namespace)
    await gateway.auth.require(user, "get", f"{SESSIONS}/messages", namespace, row.name)
    head = row.usage.head
    until = head if window.at is None else min(window.at, head)
    behind = until + 1 if window.before is None else min(window.before, until + 1)
    entries = await gateway.store.read(read_before, row.uid, behind, TAIL)
    spent: Standing = await gateway.store.read(read_standing, row.uid, until)
    complete = await gateway.store.read(read_of_types, row.uid, (EntryType.STEP_COMPLETE,), until)
    template = "_session.html" if request.headers.get(PART) == "session" else "session.html"
    return pages_of(request).render(
        template,
        row=row,
        phase=_phase_at(row, spent, is_now=until == head),
        is_replay=until < head,
        head=head,
        until=until,
        blocks=build_timeline(entries),
        older=entries[0].seq if entries and entries[0].seq > 1 else None,
        gauges=summary.to_gauges(spent, row.limits),
        advice=summary.advice(row),
        acts=summary.to_acts(row),
        chart=draw(complete, row.limits.max_tokens),
        user=user,
    )


@dataclass(frozen=True, slots=True)
class PhaseAt:
    """Where a session was, and why."""

    name: str
    reason: str
    message: str


def _phase_at(row: SessionRow, spent: Standing, *, is_now: bool) -> PhaseAt:
    if is_now or spent.state is None:
        return PhaseAt(row.phase or Phase.PENDING, row.stop_reason or row.reason, row.message)
    body = spent.state.body or {}
    return PhaseAt(body.get("phase", ""), body.get("reason", ""), body.get("message", ""))


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - registered for this class
    return pages_of(request).render("problem.html", error.status, problem=error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    del error
    problem = ProblemError(422, "invalid_request", "Address not valid", "A part of this address is not allowed.")
    return pages_of(request).render("problem.html", problem.status, problem=problem)
