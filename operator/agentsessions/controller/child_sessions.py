"""Makes the sessions that directors' agents ask for, each once, and tells the journal which they are.

All of it may be done twice: the name follows from the call, and what is there already is found. A crash before the
journal is told leaves a session that the next pass finds; after that nothing makes it again, whatever becomes of it.
"""

from functools import partial
from typing import Any, Final

import structlog

from agentsessions.api.child_sessions import ChildReport, ChildRequest
from agentsessions.api.levels import Level
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.children.owner import owner_uid
from agentsessions.children.session import build_session
from agentsessions.controller.kinds import AGENT_SESSIONS
from agentsessions.controller.levels import GatewayAwayError, LevelFeed
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.store import key_of
from agentsessions.controller.views import SessionRecord, to_session
from agentsessions.controller.watched import Watched
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, ApiError, NotFound
from agentsessions.engine.resources import resource_path
from agentsessions.lifecycle.facts import JournalView, SessionView
from agentsessions.lifecycle.phases import TERMINAL

FINAL_REFUSALS: Final = frozenset({400, 403, 422})
"""Answers by which the API server refuses an object for good: schema, rules, quotas of objects, policies."""
GONE: Final = "it was deleted before it did anything"

log = structlog.get_logger(__name__)


class ChildSessions:
    """Makes child sessions."""

    def __init__(self, client: Client, sessions: Watched[SessionRecord], feed: LevelFeed, metrics: Metrics) -> None:
        self._client = client
        self._sessions = sessions
        self._feed = feed
        self._metrics = metrics

    async def apply(self, director: SessionView, journal: JournalView) -> None:
        """Make the sessions that a director's agents wait for.

        Raises:
            ApiError: The API server does not answer.
        """
        heard = _pending(journal.level)
        if not heard or not journal.is_reachable or not _may_start(director):
            return
        if all(self._is_there(director.namespace, request) for request in heard):
            return  # the journal is about to see them
        try:
            # What the stream told may be old: a session that the journal knows of is not made again.
            fresh = _pending(await self._feed.fetch_level(director.uid))
            for request in fresh:
                await self._look_after(director, request)
        except GatewayAwayError as error:
            log.warning("children not told", session=f"{director.namespace}/{director.name}", error=str(error))

    def _is_there(self, namespace: str, request: ChildRequest) -> bool:
        record = self._sessions.records.get(key_of(namespace, request.name))
        return record is not None and record.view.uid == request.child_uid

    async def _look_after(self, director: SessionView, request: ChildRequest) -> None:
        report = partial(self._feed.report_child, director.uid, request.id)
        if request.child_uid is not None:
            found = await self._find(director.namespace, request.name)
            if found is None or found["metadata"]["uid"] != request.child_uid:
                await report(ChildReport(problem=GONE))
            return
        live = await self._find(director.namespace, director.name)
        if live is None or not _may_start(view := to_session(live).view) or view.uid != director.uid:
            return  # it ends, or stands still, and the stream has not told yet
        body = build_session(director, live["metadata"].get("labels") or {}, request)
        made, problem = await self._create(director, body)
        if made is None:
            await report(ChildReport(problem=problem[:2048]))
            return
        await report(ChildReport(child_uid=made["metadata"]["uid"]))
        self._sessions.put(made)  # the stream may be late

    async def _create(self, director: SessionView, body: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """Return the session, made now or before, or None and why there is none."""
        name = body["metadata"]["name"]
        try:
            made = await self._client.create(AGENT_SESSIONS, director.namespace, body)
        except AlreadyExists:
            found = await self._find(director.namespace, name)
            if found is not None and owner_uid(found) == director.uid:
                return found, ""
            return None, f"another session has the name {name}"
        except ApiError as error:
            if error.status not in FINAL_REFUSALS:
                raise
            log.warning("child session refused", session=f"{director.namespace}/{director.name}", error=str(error))
            return None, error.message
        self._metrics.writes.labels("session").inc()
        log.info("child session made", session=f"{director.namespace}/{director.name}", child=name)
        return dict(made), ""

    async def _find(self, namespace: str, name: str) -> dict[str, Any] | None:
        try:
            return dict(await self._client.get(resource_path(AGENT_SESSIONS, namespace, name)))
        except NotFound:
            return None


def _pending(level: Level | None) -> tuple[ChildRequest, ...]:
    return level.child_sessions.pending if level is not None and level.child_sessions is not None else ()


def _may_start(director: SessionView) -> bool:
    """Return whether what the director asked for is to be made now: not while it stands still, or ends."""
    phase, mode = director.status.phase, director.spec.operating_mode
    is_ending = phase in TERMINAL or phase is Phase.CANCELLING or director.is_deleting
    return not is_ending and mode is OperatingMode.RUNNING
