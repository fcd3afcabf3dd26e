"""The gateway's page on an address of this machine, for one user's browser: it adds the user's bearer token.

Whoever may talk to it acts as the user, so it lets in one browser alone:

- It listens on 127.0.0.1, and only answers to that name: another site's name that is made to mean 127.0.0.1 is refused.
- The printed address has a secret that is good once. It is exchanged for a cookie that scripts cannot read and that
  other sites' pages cannot send. Who comes with the secret a second time ends it all: one of the two is a stranger.
- Only the page is passed on, with the headers that it needs; a change must come from the page itself.
"""

import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import httpx2

from agentsessions.cli.failures import Failure

HOST: Final = "127.0.0.1"
BEGIN: Final = "/begin/"
PAGE: Final = "/ui"
PASSED_ON: Final = ("accept", "accept-language", "content-type", "last-event-id", "x-part", "x-seen")
NOT_PASSED_BACK: Final = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "set-cookie", "server", "date"}
)
MAX_BODY_BYTES: Final = 1024 * 1024
TIMEOUT: Final = httpx2.Timeout(60.0, read=90.0)
"""A stream is never silent for more than 15 s."""
FOR_TEXT: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
AGAIN: Final = "Run `kubectl agentsession ui` again, and open the address that it prints."


class LocalPage:
    """Serves the page until it is closed."""

    def __init__(self, gateway: httpx2.Client, token: Callable[[], str], path: str, port: int = 0) -> None:
        """Listen at once.

        Args:
            gateway: Client of the gateway, without a token.
            token: Returns the user's token.
            path: Page to begin with.
            port: Where to listen; 0 is a free port.

        Raises:
            OSError: The port is taken.
        """
        self.gateway = gateway
        self.token = token
        self.path = path
        self.why_ended = ""
        self._secret: str | None = secrets.token_urlsafe(32)
        self._used = ""
        self._cookie: str | None = secrets.token_urlsafe(32)
        self._lock = threading.Lock()
        self._server = _Server((HOST, port), _handler_of(self))
        self.name = f"{HOST}:{self._server.server_port}"
        self.cookie_name = f"agentsession-{self._server.server_port}"
        self.address = f"http://{self.name}{BEGIN}{self._secret}"

    def serve(self) -> None:
        """Serve until `close`, or until a stranger comes."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Let `serve` return, and nobody in."""
        self._server.shutdown()
        self._server.server_close()

    def is_let_in(self, cookies: str) -> bool:
        """Return whether a request has the cookie of the browser that began."""
        try:
            found = SimpleCookie(cookies).get(self.cookie_name)
        except CookieError:
            return False
        return found is not None and self._cookie is not None and secrets.compare_digest(found.value, self._cookie)

    def exchange(self, secret: str) -> str | None:
        """Return the cookie for the secret; None when it is wrong, or was used before, which ends all."""
        with self._lock:
            if self._secret is not None:
                if not secrets.compare_digest(secret.encode(), self._secret.encode()):
                    return None
                self._secret = None
                self._used = secret
                return self._cookie
            if secrets.compare_digest(secret.encode(), self._used.encode()):
                self._cookie = None
                self.why_ended = "the address was opened by a second browser, so nobody is let in any more"
                threading.Thread(target=self._server.shutdown, daemon=True).start()
            return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a browser that leaves in the middle of an answer is no error."""


def _handler_of(page: LocalPage) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"page": page})


class _Handler(BaseHTTPRequestHandler):
    page: LocalPage
    protocol_version = "HTTP/1.1"
    timeout = 120  # seconds of silence of a browser
    server_version = "agentsession"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a page, or what it loads."""
        self._answer(b"")

    def do_POST(self) -> None:
        """Answer a form."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True  # what it sends is not read
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A form has at most {MAX_BODY_BYTES} bytes.")
            return
        body = self.rfile.read(int(length))
        if not self._is_of_own_page():
            self._say(HTTPStatus.FORBIDDEN, "This was asked for by another page, and was not done.")
            return
        self._answer(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: the terminal is the user's."""

    def _is_of_own_page(self) -> bool:
        site = self.headers.get("Sec-Fetch-Site")
        return self.headers.get("Origin") == f"http://{self.page.name}" if site is None else site == "same-origin"

    def _answer(self, body: bytes) -> None:
        if self.headers.get_all("Host") != [self.page.name]:
            self._say(HTTPStatus.MISDIRECTED_REQUEST, f"This is http://{self.page.name} and nothing else.")
        elif self.command == "GET" and self.path.startswith(BEGIN):
            self._begin(self.path.removeprefix(BEGIN))
        elif not self.page.is_let_in(self.headers.get("Cookie", "")):
            self._say(HTTPStatus.FORBIDDEN, f"This page is open to the browser that opened it first. {AGAIN}")
        elif self.path.partition("?")[0] != PAGE and not self.path.startswith(f"{PAGE}/"):
            self._say(HTTPStatus.NOT_FOUND, f"There is nothing but {PAGE}/sessions.")
        else:
            self._pass_on(body)

    def _begin(self, secret: str) -> None:
        headers = {}
        if not self.page.is_let_in(self.headers.get("Cookie", "")):
            cookie = self.page.exchange(secret)
            if cookie is None:
                self._say(HTTPStatus.FORBIDDEN, f"This address was used already, or never was one. {AGAIN}")
                return
            headers["Set-Cookie"] = f"{self.page.cookie_name}={cookie}; Path=/; HttpOnly; SameSite=Strict"
        # No redirect: browsers send a strict cookie only where the page before was of the same site.
        html = (
            f'<!doctype html><title>agentsessions</title><meta http-equiv="refresh" content="0;url={self.page.path}">'
        )
        self._send(HTTPStatus.OK, {**FOR_TEXT, **headers, "Content-Type": "text/html; charset=utf-8"}, html.encode())

    def _pass_on(self, body: bytes) -> None:
        kept = {name: value for name in PASSED_ON if (value := self.headers.get(name)) is not None}
        headers = {**kept, "Accept-Encoding": "identity", "Sec-Fetch-Site": "same-origin"}
        gateway = self.page.gateway
        try:
            headers["Authorization"] = f"Bearer {self.page.token()}"
            request = gateway.build_request(self.command, self.path, headers=headers, content=body, timeout=TIMEOUT)
            answer = gateway.send(request, stream=True)
        except (httpx2.TransportError, Failure) as error:
            self._say(HTTPStatus.BAD_GATEWAY, f"The gateway does not answer: {error}. Try again.")
            return
        try:
            self._pass_back(answer)
        except (httpx2.TransportError, OSError):
            self.close_connection = True  # one of the two is gone; the browser sees the answer break off
        finally:
            answer.close()

    def _pass_back(self, answer: httpx2.Response) -> None:
        self.send_response(answer.status_code)
        for name, value in answer.headers.multi_items():
            if name.lower() not in NOT_PASSED_BACK:
                self.send_header(name, value)
        if "content-length" not in answer.headers and answer.status_code != HTTPStatus.NO_CONTENT:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        for piece in answer.iter_raw():
            self.wfile.write(piece)

    def _say(self, status: HTTPStatus, text: str) -> None:
        self._send(status, {**FOR_TEXT, "Content-Type": "text/plain; charset=utf-8"}, f"{text}\n".encode())

    def _send(self, status: HTTPStatus, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
