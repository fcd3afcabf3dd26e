"""`ui`."""

import os
import sys
import threading
import webbrowser
from typing import Annotated, Final
from urllib.parse import quote, urlencode

import httpx2
import typer

from agentsessions.cli.connection import Connection
from agentsessions.cli.failures import Failure, UsageFailure
from agentsessions.cli.localpage import LocalPage
from agentsessions.cli.options import complete_session, connect
from agentsessions.cli.terminal import note, say

SCREENS: Final = ("DISPLAY", "WAYLAND_DISPLAY")


def ui(
    ctx: typer.Context,
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="[SESSION]",
            help="Name of a session, or @latest; without it the list.",
            autocompletion=complete_session,
        ),
    ] = None,
    is_opened: Annotated[bool, typer.Option("--open/--no-open", help="Whether to open a browser.")] = True,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Local port; 0 is a free one.")] = 0,
) -> None:
    """Open the web page in a browser, with your own rights, until Ctrl-C.

    The page is served on 127.0.0.1 to the browser that opens the printed address first; your token stays in this
    command.
    """
    connection = connect(ctx)
    path = _path(connection, session)
    with connection.http() as gateway:
        _greet(gateway, connection)
        try:
            page = LocalPage(gateway, connection.token, path, port)
        except OSError as error:
            raise UsageFailure(f"port {port} cannot be listened on: {error.strerror}; leave --port out") from error
        say(page.address)
        note("open it once, in your browser; Ctrl-C ends it")
        if is_opened and _has_screen():
            threading.Thread(target=webbrowser.open, args=(page.address,), daemon=True).start()
        try:
            page.serve()
        except KeyboardInterrupt:
            return
        finally:
            page.close()
        raise Failure(f"{page.why_ended}: run the command again, and look who else uses this machine")


def _has_screen() -> bool:
    """Whether a browser that opens is a window: one in this terminal would take it over."""
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in SCREENS)


def _path(connection: Connection, session: str | None) -> str:
    if session is None:
        return f"/ui/sessions?{urlencode({'namespace': connection.namespace})}"
    return f"/ui/sessions/{quote(connection.namespace, safe='')}/{quote(connection.name_of(session), safe='')}"


def _greet(gateway: httpx2.Client, connection: Connection) -> None:
    """Find out now, and not in the browser, what stands in the way."""
    headers = {"Authorization": f"Bearer {connection.token()}"}
    try:
        answer = gateway.get("/api/v1/agent-sessions", headers=headers, params={"limit": "1"})
    except httpx2.TransportError as error:
        raise Failure(f"the gateway does not answer: {error}; see `kubectl agentsession doctor`") from error
    if answer.status_code == httpx2.codes.UNAUTHORIZED:
        raise Failure("the gateway does not know you: log in again; see `kubectl agentsession doctor`")
