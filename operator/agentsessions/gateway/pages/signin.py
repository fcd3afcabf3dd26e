"""How browsers, which cannot be told to send a bearer token, are known; and that they mean what they send.

Two ways. `kubectl agentsession ui` adds the user's token to all that a browser asks it for; no token is in the browser
then. Or the user posts a token to `/ui/signin`, and it comes back as a cookie that no script can read, that is sent
over TLS and from pages of this very site alone, and that ends with the browser. Only `/ui` reads the cookie: the API
takes the header, as ever. Either way a change must come from a page of ours (`require_own_page`).
"""

from http.cookies import CookieError, SimpleCookie
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from fastapi import Query, Request
from fastapi.requests import HTTPConnection
from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from agentsessions.gateway import paths
from agentsessions.gateway.lookup import TheGateway
from agentsessions.gateway.pages.render import BY_COOKIE, SECURITY, answer_page
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError

COOKIE: Final = "__Host-agentsessions"
MAX_COOKIE_BYTES: Final = 4000
"""Browsers drop a cookie of more than 4096 bytes with its name and attributes."""
MAX_FORM_BYTES: Final = 1024 * 1024
HOME: Final = "/ui/sessions"
ATTRIBUTES: Final = "; Path=/; Secure; HttpOnly; SameSite=Strict"


class CookieSignIn:
    """Gives a request without a bearer token the one of its cookie."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and (token := _token_of(HTTPConnection(scope))):
            headers = [*scope["headers"], (b"authorization", b"Bearer " + token.encode())]
            scope = {**scope, "headers": headers, BY_COOKIE: True}
        await self._app(scope, receive, send)


def _token_of(connection: HTTPConnection) -> str:
    if "authorization" in connection.headers:
        return ""
    try:
        found = SimpleCookie(connection.headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None or not found.value.isascii() else found.value


async def require_own_page(request: Request) -> None:
    """Refuse a change that a page of somebody else wants, or that no page wants (a FastAPI dependency).

    Raises:
        ProblemError: 403.
    """
    site = request.headers.get("sec-fetch-site")
    if site is None:  # of browsers that do not say; all say which page's origin it was
        origin = urlsplit(request.headers.get("origin", ""))
        is_own = bool(origin.netloc) and origin.netloc == request.headers.get("host")
    else:
        is_own = site == "same-origin"
    if not is_own:
        raise ProblemError(
            ProblemCode.FORBIDDEN,
            "This change was asked for by another page than ours, and was not made. Programs use the API: "
            f"{paths.OPENAPI}.",
        )


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; of several with one name the last.

    Raises:
        ProblemError: 413, 422.
    """
    body = await request.body()
    if len(body) > MAX_FORM_BYTES:
        raise ProblemError(ProblemCode.TOO_LARGE, f"The form has {len(body)} bytes; {MAX_FORM_BYTES} are the most.")
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError as error:
        raise ProblemError(ProblemCode.INVALID_REQUEST, f"The form cannot be read: {error}.") from error
    return {name: values[-1].replace("\r\n", "\n").replace("\x00", "") for name, values in fields.items()}


def is_ours(path: str) -> bool:
    """Return whether a path leads to a page of ours, whatever browsers make of it."""
    parts = urlsplit(path)
    return path.startswith("/ui/") and not (parts.scheme or parts.netloc) and "\\" not in path and path.isprintable()


async def show_signin(request: Request, path: Annotated[str, Query(alias="next", max_length=2000)] = HOME) -> Response:
    """Show the form that takes a token."""
    return await answer_page(request, "signin.html", path=path if is_ours(path) else HOME)


async def sign_in(request: Request, gateway: TheGateway) -> Response:
    """Take a token that the API server accepts, and give it back as a cookie."""
    form = await read_form(request)
    token = "".join(form.get("token", "").split())  # terminals break long lines
    if not token or len(token) > MAX_COOKIE_BYTES or not _is_plain(token):
        raise ProblemError(
            ProblemCode.INVALID_REQUEST,
            f"This is no bearer token of at most {MAX_COOKIE_BYTES} characters, which is what a browser keeps. Take "
            "one of `kubectl create token`, or open the page with `kubectl agentsession ui`.",
        )
    header = (b"authorization", b"Bearer " + token.encode())
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"authorization"]
    await gateway.auth.user(HTTPConnection({**request.scope, "headers": [*headers, header]}))
    path = form.get("next", HOME)
    cookie = {"Set-Cookie": f"{COOKIE}={token}{ATTRIBUTES}"}
    return RedirectResponse(path if is_ours(path) else HOME, 303, headers={**SECURITY, **cookie})


def _is_plain(token: str) -> bool:
    """Return whether a cookie can hold it as it is (RFC 6265, cookie-octet)."""
    return all("!" <= character <= "~" and character not in '",;\\' for character in token)


async def sign_out(request: Request) -> Response:
    """Forget the token."""
    del request
    cookie = {"Set-Cookie": f"{COOKIE}={ATTRIBUTES}; Max-Age=0"}
    return RedirectResponse("/ui/signin", 303, headers={**SECURITY, **cookie})
