"""Seeing a session through to a phase, and the exit code that this is worth."""

from collections.abc import Collection

from agentsessions.api.reasons import Phase
from agentsessions.cli.connection import Connection, no_session
from agentsessions.cli.failures import FAILED, Failure, QuietExit
from agentsessions.cli.kube import SESSIONS
from agentsessions.cli.sessions import Json, is_final, phase_of, reason_of, status_of
from agentsessions.cli.terminal import note, one_line


def await_phase(connection: Connection, name: str, phases: Collection[str], uid: str | None = None) -> Json:
    """Return a session once it is in one of `phases`.

    Args:
        connection: The cluster.
        name: The session's name.
        phases: What is waited for.
        uid: Which session of that name; the present one when None.

    Raises:
        Failure: It ended in another phase, was deleted, or is not there.
    """
    is_known = uid is not None
    for session in connection.kube.follow(SESSIONS, connection.namespace, name):
        if session is None or (uid is not None and session["metadata"]["uid"] != uid):
            if not is_known:
                raise no_session(name, connection.namespace)
            raise Failure(f"session {name!r} was deleted; `kubectl agentsession logs {uid or name}` shows what it did")
        is_known, uid = True, session["metadata"]["uid"]
        if phase_of(session) in phases:
            return session
        if is_final(session):
            raise Failure(ended(session))
    raise AssertionError("an object is followed until it is gone")


def ended(session: Json) -> str:
    """Return a sentence about how a session ended."""
    status = status_of(session)
    error = status.get("error") or {}
    why = one_line(str(error.get("message") or ""))
    return (
        f"session {session['metadata']['name']!r} ended {phase_of(session)} "
        f"({status.get('stopReason') or reason_of(session)}){f': {why}' if why else ''}"
    )


def leave_by_outcome(session: Json) -> None:
    """End with exit code 1 unless the session completed.

    Raises:
        QuietExit: It did not.
    """
    if phase_of(session) != Phase.COMPLETED:
        note(ended(session))
        raise QuietExit(FAILED)
