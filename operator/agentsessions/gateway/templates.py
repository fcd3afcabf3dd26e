"""Sessions as they mean themselves: their spec over the revision of the template that they were accepted with.

The same merge as the operator's, over the same ControllerRevision, whose data nobody can change: so one that was read
is never read again. Until it was, the session is known only as it was written.
"""

from collections import OrderedDict
from typing import Final

from agentsessions.api.v1alpha1.template import AgentSessionTemplateSpec
from agentsessions.children.revisions import read_revision
from agentsessions.engine.client import Client
from agentsessions.engine.resources import CONTROLLER_REVISION, resource_path
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.templates import merge_view

MOST_REVISIONS: Final = 1000
MOST_MERGED: Final = 10_000


class RevisionUnreadable(Exception):  # noqa: N818 - the cluster's fault, not ours
    """A revision is not what its name says."""


class Merger:
    """Merges sessions with their templates' revisions, and remembers both."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._revisions: OrderedDict[tuple[str, str], AgentSessionTemplateSpec] = OrderedDict()
        self._merged: OrderedDict[str, tuple[str, SessionView]] = OrderedDict()  # uid -> version, view

    async def merge(self, session: SessionView) -> SessionView:
        """Return the session as it means itself, reading the revision if it was not read yet.

        Raises:
            ApiError: It cannot be read now, or is gone.
            RevisionUnreadable: It is another one's.
        """
        named, revision = session.spec.template_ref, session.status.template_revision
        if named is None or revision is None:
            return session
        if (session.namespace, revision) not in self._revisions:
            raw = await self._client.get(resource_path(CONTROLLER_REVISION, session.namespace, revision))
            spec = read_revision(raw, named.name)
            if spec is None:
                raise RevisionUnreadable(
                    f"ControllerRevision {session.namespace}/{revision} does not hold template {named.name} as its "
                    "name says: delete it, and the operator makes it again where it can"
                )
            self._revisions[session.namespace, revision] = spec
            if len(self._revisions) > MOST_REVISIONS:
                self._revisions.popitem(last=False)
        return self.find(session) or session

    def find(self, session: SessionView) -> SessionView | None:
        """Return the session as it means itself; None when its revision was not read yet."""
        revision = session.status.template_revision
        if session.spec.template_ref is None or revision is None:
            return session
        version, merged = self._merged.get(session.uid, ("", session))
        if version == session.resource_version:
            return merged
        spec = self._revisions.get((session.namespace, revision))
        if spec is None:
            return None
        merged = merge_view(session, spec)
        self._merged[session.uid] = (session.resource_version, merged)
        if len(self._merged) > MOST_MERGED:
            self._merged.popitem(last=False)
        return merged
