"""Who belongs to a director: found by an index, so that a pass over any other session costs nothing."""

from collections.abc import Callable

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.role import SessionRole
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.controller.store import Key, Sessions, key_of
from agentsessions.controller.views import SessionRecord
from agentsessions.lifecycle.facts import Acceptance, SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.ties import NO_TIES, Member, Ties, gather_departments, judge_director


class KnownTies:
    """Tells of each session what decisions on it must know of its director and its departments."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self.wake: Callable[[Key], None] = lambda _key: None
        """Called with the key of a session to look at because another one changed."""

    def of(self, session: SessionView) -> Ties:
        """Return what the session's end depends on."""
        if session.spec.role is SessionRole.DIRECTOR:
            return gather_departments([_to_member(record.view) for record in self._departments(session)])
        ref = session.spec.director_ref
        if ref is None:
            return NO_TIES
        director = self._director(session)
        is_unreadable = director is not None and bool(director.problem or director.status_problem)
        if is_unreadable:  # nothing is known of what it wants
            return NO_TIES
        member = None if director is None else _to_member(director.view)
        return Ties(director=judge_director(member, session.status.phase, session.parent_uid))

    def refuse(self, session: SessionView) -> Acceptance | None:
        """Return the problem of a new session whose director is not there."""
        ref = session.spec.director_ref
        director = self._director(session)
        if ref is None or (director is not None and _may_direct(director.view, session)):
            return None
        what = "is not there"
        if director is not None:
            is_director = director.view.spec.role is SessionRole.DIRECTOR
            what = "has another owner" if is_director else f"has role {director.view.spec.role}"
        return Acceptance(
            Reason.DIRECTOR_NOT_FOUND,
            f"spec.directorRef names session {ref.name!r} of namespace {session.namespace}, which {what}: create it "
            "with role Director and the same owner, or create this session with another name there",
        )

    def tell(self, record: SessionRecord) -> None:
        """Wake the sessions that a change of this one concerns.

        Also for our own writes: of what their answer has shown the stream is no news any more.
        """
        for key in self.affected(record):
            self.wake(key)

    def affected(self, record: SessionRecord) -> list[Key]:
        """Return the keys of sessions to look at because this one changed, or went."""
        session = record.view
        if session.spec.role is SessionRole.DIRECTOR:
            others = [other.view for other in self._departments(session)]
            return [key_of(other.namespace, other.name) for other in others if other.status.phase not in TERMINAL]
        director = self._director(session)
        if director is None or director.view.status.phase in TERMINAL:
            return []
        # Only one that waits for its departments to end has to hear of them.
        is_ending = director.view.spec.operating_mode is OperatingMode.CANCELLED
        is_ending = is_ending or director.view.status.phase is Phase.CANCELLING
        return [key_of(director.view.namespace, director.view.name)] if is_ending else []

    def _departments(self, director: SessionView) -> list[SessionRecord]:
        found = self._sessions.with_director(key_of(director.namespace, director.name))
        # Of one that cannot be read, or is being deleted, no end can be awaited.
        readable = [one for one in found if not (one.problem or one.status_problem or one.view.is_deleting)]
        return [one for one in readable if _may_direct(director, one.view)]

    def _director(self, session: SessionView) -> SessionRecord | None:
        ref = session.spec.director_ref
        return None if ref is None else self._sessions.get(key_of(session.namespace, ref.name))


def _may_direct(director: SessionView, session: SessionView) -> bool:
    """Return whether one is a director of the other's owner: nobody may hold up the end of somebody else's."""
    return director.spec.role is SessionRole.DIRECTOR and director.spec.owner == session.spec.owner


def _to_member(session: SessionView) -> Member:
    return Member(session.name, session.spec, session.status, session.uid)
