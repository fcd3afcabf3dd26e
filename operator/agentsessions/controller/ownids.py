"""Own ids of sessions (`spec.sessionId`): of two equal ones of one owner the older session has it.

Creation times have seconds, so two may be equally old: then the smaller uid counts as older. An id that a session was
accepted with stays its own, as does one that this process told it may have.
"""

from agentsessions.controller.store import OwnId, Sessions, own_id_of
from agentsessions.lifecycle.facts import SessionView


class OwnIds:
    """Which session has an id."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._claims: dict[OwnId, str] = {}

    def claim(self, session: SessionView) -> SessionView | None:
        """Give the session its id; return the session that has it already, if one does."""
        own_id = own_id_of(session)
        if own_id is None:
            return None
        others = [other for other in self._sessions.with_own_id(own_id) if other.uid != session.uid]
        claimed_by = self._claims.get(own_id)
        for other in others:
            if other.uid == claimed_by or other.status.spec_digest is not None:
                return other
        older = [other for other in others if (other.created_at, other.uid) < (session.created_at, session.uid)]
        if older:
            return min(older, key=lambda other: (other.created_at, other.uid))
        self._claims[own_id] = session.uid
        return None

    def release(self, session: SessionView) -> list[SessionView]:
        """Forget a session that is gone; return those that its id was refused to."""
        own_id = own_id_of(session)
        if own_id is None:
            return []
        if self._claims.get(own_id) == session.uid:
            del self._claims[own_id]
        return [other for other in self._sessions.with_own_id(own_id) if other.uid != session.uid]
