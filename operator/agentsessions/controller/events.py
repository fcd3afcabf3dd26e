"""Kubernetes Events: one for each transition at most, sent after the status was written. Losing one does no harm."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import structlog

from agentsessions.api import names
from agentsessions.children.owner import SESSION_KIND
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, ApiError
from agentsessions.engine.resources import EVENT
from agentsessions.lifecycle.decision import EventWanted
from agentsessions.lifecycle.facts import SessionView

NOTE_BYTES: Final = 1024
"""Source: validation of events.k8s.io/v1 in Kubernetes."""
HASH_LENGTH: Final = 16

log = structlog.get_logger(__name__)


def build_event(session: SessionView, event: EventWanted, at: datetime) -> dict[str, Any]:
    """Return the Event. Its name follows from the view decided from, so that a second try makes no second Event."""
    identity = f"{session.uid}/{session.resource_version}/{event.reason}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:HASH_LENGTH]
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{session.name}.{digest}", "namespace": session.namespace},
        "eventTime": at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": names.MANAGER,
        "reportingInstance": names.MANAGER,
        "action": "Reconcile",
        "type": event.type,
        "reason": event.reason,
        "note": event.message.encode()[:NOTE_BYTES].decode(errors="ignore"),
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": SESSION_KIND,
            "namespace": session.namespace,
            "name": session.name,
            "uid": session.uid,
            "resourceVersion": session.resource_version,
        },
    }


class Events:
    """Sends Events."""

    def __init__(self, client: Client, *, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._clock = clock

    async def send(self, session: SessionView, events: tuple[EventWanted, ...]) -> None:
        """Send Events about a session; what fails is logged and left."""
        for event in events:
            try:
                await self._client.create(EVENT, session.namespace, build_event(session, event, self._clock()))
            except AlreadyExists:
                pass
            except ApiError as error:
                log.warning(
                    "event not sent",
                    session=f"{session.namespace}/{session.name}",
                    reason=event.reason,
                    error=str(error),
                )
