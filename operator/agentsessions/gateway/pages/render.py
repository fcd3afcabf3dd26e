"""Templates with what all pages share, and the headers that keep a page from doing what it should not."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fastapi.requests import HTTPConnection
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.concurrency import run_in_threadpool

from agentsessions.gateway.pages import summary
from agentsessions.gateway.pages.assets import Asset, load_assets
from agentsessions.gateway.pages.markup import to_html
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.requests import method_of

TEMPLATES: Final = Path(__file__).parent / "templates"
SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
BY_COOKIE: Final = "agentsessions.by_cookie"
"""Where a request's scope says that its token came in a cookie."""
UNAUTHENTICATED: Final = 401
PART: Final = "X-Part"
"""Header by which the script asks for a part of a page."""


class Pages:
    """Renders templates."""

    def __init__(self) -> None:
        self.assets: dict[str, Asset] = load_assets()
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {"markdown": to_html, "money": summary.to_money, "span": summary.to_span}
        self._environment.filters["person"] = summary.to_person
        self._environment.globals |= {
            "asset": lambda name: self.assets[name].url,
            "to_age": summary.to_age,
            "to_terms": summary.to_terms,
        }

    def html(self, request: HTTPConnection, template: str, **values: Any) -> str:
        """Return a template's text."""
        is_signed_in = bool(request.scope.get(BY_COOKIE))
        found = self._environment.get_template(template)
        return found.render(now=datetime.now(UTC), is_signed_in=is_signed_in, **values)


async def answer_page(request: HTTPConnection, template: str, **values: Any) -> Response:
    """Return a template as an answer; long ones take time, which the event loop has not."""
    html = await run_in_threadpool(pages_of(request).html, request, template, **values)
    return HTMLResponse(html, headers=SECURITY)


def pages_of(request: HTTPConnection) -> Pages:
    """Return what renders (of the app that answers the request)."""
    pages: Pages = request.app.state.pages
    return pages


def answer_problem(request: HTTPConnection, problem: ProblemError) -> Response:
    """Return a refusal as a page."""
    template = "_problem.html" if PART in request.headers else "problem.html"
    if problem.status == UNAUTHENTICATED and request.headers.get("sec-fetch-site") == "cross-site":
        # A strict cookie does not come along with a link on another site's page. From a page of ours it does.
        template = "again.html"
    html = pages_of(request).html(request, template, problem=problem, path=here(request))
    return HTMLResponse(html, problem.status, headers={**problem.headers, **SECURITY})


def here(request: HTTPConnection) -> str:
    """Return where to come back to after a sign-in: the page that was asked for, or the list."""
    if method_of(request.scope) != "GET":
        return "/ui/sessions"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")
