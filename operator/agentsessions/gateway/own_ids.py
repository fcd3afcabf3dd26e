"""Sessions by their own id (`spec.sessionId`), which is unique for each owner in a namespace."""

from typing import Final

from agentsessions.gateway.watch import SessionWatch
from agentsessions.lifecycle.facts import SessionView

OwnId = tuple[str, str, str]
"""Namespace, owner (empty for none), `spec.sessionId`."""
NO_OWNER: Final = ""


class OwnIds:
    """An index over what the watch knows. A session that was just created is in it a moment later."""

    def __init__(self, watch: SessionWatch) -> None:
        self._watch = watch
        self._ids: dict[str, OwnId] = {}
        self._uids: dict[OwnId, set[str]] = {}
        watch.subscribe(self._note)

    def find(self, namespace: str, owner: str | None, session_id: str) -> SessionView | None:
        """Return the session with this id, the oldest if there are several: it is the one that is accepted."""
        uids = self._uids.get((namespace, owner or NO_OWNER, session_id), ())
        views = [view for uid in uids if (view := self._watch.sessions.get(uid)) is not None]
        return min(views, key=lambda view: (view.created_at, view.uid), default=None)

    def _note(self, uid: str) -> None:
        view = self._watch.sessions.get(uid)
        if view is None:
            self.forget(uid)
        elif view.spec.session_id is not None:
            own_id = (view.namespace, view.spec.owner or NO_OWNER, view.spec.session_id)
            self._ids[uid] = own_id
            self._uids.setdefault(own_id, set()).add(uid)

    def forget(self, uid: str) -> None:
        """Drop a session that is deleted."""
        own_id = self._ids.pop(uid, None)
        if own_id is None:
            return
        left = self._uids[own_id]
        left.discard(uid)
        if not left:
            del self._uids[own_id]
