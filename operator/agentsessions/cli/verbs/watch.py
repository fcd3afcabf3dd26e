"""`watch`."""

import time
from typing import Any, Final

import httpx2
import typer

from agentsessions.cli import sessions
from agentsessions.cli.connection import Connection
from agentsessions.cli.deadlines import deadline, to_seconds
from agentsessions.cli.failures import QuietExit
from agentsessions.cli.kube import GONE, SESSIONS, KubeAway, KubeError
from agentsessions.cli.options import EverywhereOption, TimeoutOption, connect
from agentsessions.cli.terminal import count, note, say, screen, to_table

Json = dict[str, Any]
REFRESH_PER_SECOND: Final = 2
AGAIN_SECONDS: Final = 1.0


class Sessions:
    """The sessions as the watch has them, kept current."""

    def __init__(self, connection: Connection, namespace: str | None) -> None:
        self._connection = connection
        self._namespace = namespace
        self.known: dict[str, Json] = {}

    def changes(self) -> Any:
        """Yield each session that changed, and None when many did; for ever."""
        is_known = False
        while True:
            try:
                found, version = self._connection.kube.list_objects(SESSIONS, self._namespace)
                self.known = {one["metadata"]["uid"]: one for one in found}
                is_known = True
                yield None
                for type_, session in self._connection.kube.watch(SESSIONS, self._namespace, version):
                    self._note(type_, session)
                    yield session
            except (httpx2.TransportError, KubeAway):
                if not is_known:
                    raise
                time.sleep(AGAIN_SECONDS)
            except KubeError as error:
                if error.status != GONE:
                    raise

    def _note(self, type_: str, session: Json) -> None:
        uid = session["metadata"]["uid"]
        if type_ == "DELETED":
            self.known.pop(uid, None)
        else:
            self.known[uid] = session

    def table(self, *, with_namespace: bool) -> Any:
        """Return them as a table."""
        headers = (("NAMESPACE",) if with_namespace else ()) + sessions.HEADERS
        ordered = sessions.needs_somebody_first(self.known.values())
        return to_table(headers, [sessions.row(one, is_wide=False, with_namespace=with_namespace) for one in ordered])


def watch(ctx: typer.Context, is_everywhere: EverywhereOption = False, timeout: TimeoutOption = "0") -> None:
    """Show sessions as they change, until Ctrl-C.

    On a terminal a live table; elsewhere a line for each change.
    """
    connection = connect(ctx)
    namespace = None if is_everywhere else connection.namespace
    seconds = to_seconds(timeout)
    found = Sessions(connection, namespace)
    try:
        with deadline(seconds, f"watched for {timeout}"):
            if screen().is_terminal:
                _show_live(found, is_everywhere)
            else:
                _print_changes(found, is_everywhere)
    except KeyboardInterrupt:
        raise QuietExit(0) from None


def _show_live(found: Sessions, is_everywhere: bool) -> None:
    from rich.live import Live  # noqa: PLC0415  # only on a terminal

    with Live(
        get_renderable=lambda: found.table(with_namespace=is_everywhere),
        console=screen(),
        refresh_per_second=REFRESH_PER_SECOND,
        screen=True,
    ):
        for _ in found.changes():
            pass


def _print_changes(found: Sessions, is_everywhere: bool) -> None:
    shown: dict[str, str] = {}
    for changed in found.changes():
        for session in sessions.needs_somebody_first(found.known.values()) if changed is None else [changed]:
            uid = session["metadata"]["uid"]
            line = _line(session, is_gone=uid not in found.known, with_namespace=is_everywhere)
            if shown.get(uid) != line:
                shown[uid] = line
                say(line)
        if changed is None and not found.known:
            note("no sessions yet")


def _line(session: Json, *, is_gone: bool, with_namespace: bool) -> str:
    meta, usage = session["metadata"], sessions.usage_of(session)
    name = f"{meta['namespace']}/{meta['name']}" if with_namespace else meta["name"]
    phase = "Deleted" if is_gone else sessions.phase_of(session)
    spent = f"{count(usage.get('steps', 0), 'step')}  {usage.get('totalTokens', 0)} tokens"
    return f"{name}  {phase}  {sessions.reason_of(session)}  {spent}"
