"""The workspace of another session that a fork's own begins with: is it there, and does nobody write to it?"""

from typing import Final

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.placement import FilledFrom, MigrationState
from agentsessions.api.v1alpha1.source import Source, SourceWorkspace
from agentsessions.children.names import claim_of
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.store import Sessions, key_of
from agentsessions.engine.client import Client
from agentsessions.engine.errors import NotFound
from agentsessions.engine.resources import PERSISTENT_VOLUME_CLAIM, resource_path
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.teams import team_of

STILL: Final = frozenset({Phase.PAUSED, Phase.IDLE, Phase.WAITING, Phase.QUEUED, *TERMINAL})
"""Phases without a pod that could write."""
INSTEAD: Final = "create this one with spec.source.workspace Empty"


class Workspaces:
    """Finds what volumes begin with."""

    def __init__(self, client: Client, sessions: Sessions) -> None:
        self._client = client
        self._sessions = sessions

    async def find(self, session: SessionView) -> FilledFrom | None:
        """Return the workspace that the session's own begins with; None when it begins empty.

        Raises:
            RefusedError: It cannot be copied now; the text says why, and what to do.
            ApiError: The API server does not answer.
        """
        source = session.spec.source
        if source is None or source.workspace is not SourceWorkspace.COPY:
            return None
        other = self._find_session(session, source)
        where = f"spec.source names session {other.name}, "
        if other.status.phase not in STILL:
            phase = other.status.phase or Phase.PENDING
            raise RefusedError(
                Reason.SOURCE_INVALID,
                f"{where}which is {phase}, so that its files may change while they are copied: pause it, or {INSTEAD}",
            )
        found = _workspace_of(session, other)
        if found is None:
            raise RefusedError(Reason.SOURCE_INVALID, f"{where}which has no workspace: {INSTEAD}")
        for agent in found.agents:
            await self._check_claim(session, claim_of(found, agent), where)
        return found

    def _find_session(self, session: SessionView, source: Source) -> SessionView:
        reference = source.session_ref
        record = self._sessions.get(key_of(session.namespace, reference.name))
        if record is None or record.view.uid == session.uid or reference.uid not in {None, record.view.uid}:
            raise RefusedError(
                Reason.SOURCE_INVALID,
                f"spec.source names session {reference.name}, which is gone, and with it what tells its workspace: "
                f"{INSTEAD}",
            )
        return record.view

    async def _check_claim(self, session: SessionView, claim: str, where: str) -> None:
        try:
            found = await self._client.get(resource_path(PERSISTENT_VOLUME_CLAIM, session.namespace, claim))
        except NotFound:
            found = {"metadata": {"deletionTimestamp": ""}}
        if "deletionTimestamp" in found["metadata"]:
            raise RefusedError(Reason.SOURCE_INVALID, f"{where}whose claim {claim} is gone: {INSTEAD}")


def _hosts_of(session: SessionView) -> dict[str, str]:
    """Return whose volume each agent has that had a pod: those that share a pod have that of the first of them."""
    first: dict[str | None, str] = {}
    return {row.name: first.setdefault(row.pod_uid or row.name, row.name) for row in session.status.agents or ()}


def _workspace_of(session: SessionView, other: SessionView) -> FilledFrom | None:
    """Return the workspace that the agents of both have; None when there is none yet.

    Raises:
        RefusedError: Agents share a workspace in one of them, and not in the other.
    """
    site, move = other.status.site, other.status.migration
    if move is not None and move.state is MigrationState.MOVING and move.former is not None:
        site = move.former  # nothing was done at the new place yet
    volume = site.volume if site is not None else None
    unfilled = volume.filled_from.agents if volume is not None and volume.filled_from is not None else []
    team = team_of(session.spec)
    ours = {agent.name: team.host_of(agent.name) if team else agent.name for agent in resolve(session.spec).agents}
    theirs = _hosts_of(other)
    begun = [name for name in theirs if name in ours and theirs[name] not in unfilled]
    if apart := [name for name in begun if ours[name] != theirs[name]]:
        raise RefusedError(
            Reason.SOURCE_INVALID,
            f"spec.source names session {other.name}, in which agent {apart[0]} has the files of {theirs[apart[0]]}, "
            f"and here it has those of {ours[apart[0]]}: give the agents the same resources and env as there, or "
            f"{INSTEAD}",
        )
    agents = [name for name in begun if ours[name] == name]
    if volume is None or not agents:
        return None
    return FilledFrom(
        session_name=other.name,
        session_uid=other.uid,
        number=volume.number,
        storage_class_name=volume.storage_class_name,
        agents=agents,
    )
