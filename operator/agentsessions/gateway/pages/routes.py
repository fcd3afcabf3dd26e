"""The page's routes: an application of its own below /ui, whose refusals are pages too.

What it reads and does goes through the functions of the API's routes: rights, audit and texts are the same.
"""

from typing import Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from agentsessions.gateway import problems
from agentsessions.gateway.lookup import PATH_NAMESPACE
from agentsessions.gateway.pages import acts, decisions, lists, sessions, signin
from agentsessions.gateway.pages.render import Pages, answer_problem, pages_of
from agentsessions.gateway.problems import not_found
from agentsessions.gateway.routes import archives, events
from agentsessions.gateway.routes import sessions as api

SESSION: Final = f"/sessions/{{{PATH_NAMESPACE}}}/{{session}}"
FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}


def create_pages() -> FastAPI:
    """Return the application, to be mounted at /ui."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.state.pages = Pages()
    problems.install(app, answer_problem)
    app.add_middleware(signin.CookieSignIn)
    _add_reading(app)
    _add_changing(app)
    return app


def _add_reading(app: FastAPI) -> None:
    app.add_api_route("/", go_home)
    app.add_api_route("/static/{name}", _static)
    app.add_api_route("/signin", signin.show_signin)
    app.add_api_route("/sessions", lists.show_list)
    app.add_api_route("/compare", sessions.show_comparison)
    app.add_api_route(SESSION, sessions.show_session)
    app.add_api_route(f"{SESSION}/json", api.get_session, response_model_exclude_none=True)
    app.add_api_route(f"{SESSION}/events", events.stream_session_events, response_class=Response)
    app.add_api_route(f"{SESSION}/export", archives.export_session, response_class=Response)


def _add_changing(app: FastAPI) -> None:
    changing: dict[str, Any] = {"methods": ["POST"], "dependencies": [Depends(signin.require_own_page)]}
    app.add_api_route("/signin", signin.sign_in, **changing)
    app.add_api_route("/signout", signin.sign_out, **changing)
    app.add_api_route(f"{SESSION}/pause", acts.pause, **changing)
    app.add_api_route(f"{SESSION}/resume", acts.resume, **changing)
    app.add_api_route(f"{SESSION}/cancel", acts.cancel, **changing)
    app.add_api_route(f"{SESSION}/limits", acts.raise_limit, **changing)
    app.add_api_route(f"{SESSION}/messages", acts.send, **changing)
    for word, (act, answer) in decisions.BUTTONS.items():
        app.add_api_route(f"{SESSION}/approvals/{{approval}}/{word}", decisions.decider(act, answer), **changing)


async def go_home(request: Request) -> Response:
    """Show the list."""
    del request
    return RedirectResponse("/ui/sessions", status_code=302)


async def _static(request: Request, name: str) -> Response:
    asset = pages_of(request).assets.get(name)
    if asset is None:
        raise not_found(f"There is no file {name!r}.")
    return Response(asset.content, media_type=asset.media_type, headers=FOR_EVER)
