"""Making and ending a session's children. Names are deterministic, so each act may be done twice."""

from typing import Final

import structlog

from agentsessions.children.claim import build_claim
from agentsessions.children.names import pod_name
from agentsessions.children.pod import PodSettings, build_pod
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.namespaces import Namespaces
from agentsessions.controller.views import to_pod
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, Conflict, Forbidden, NotFound, Unreachable
from agentsessions.engine.resources import PERSISTENT_VOLUME_CLAIM, POD, resource_path
from agentsessions.lifecycle.decision import PodUnwanted, PodWanted
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import PodView, SessionView

EPOCHS_TRIED: Final = 5
"""Names taken by others that are passed over in one pass."""

log = structlog.get_logger(__name__)


class Children:
    """Applies what a decision wants of children."""

    def __init__(self, client: Client, namespaces: Namespaces, settings: PodSettings, metrics: Metrics) -> None:
        self._client = client
        self._namespaces = namespaces
        self._settings = settings
        self._metrics = metrics

    async def fetch_pod(self, namespace: str, name: str) -> PodView | None:
        """Read one pod; None when it is gone or is no agent's pod."""
        try:
            return to_pod(await self._client.get(resource_path(POD, namespace, name)))
        except NotFound:
            return None

    async def create_pods(self, session: SessionView, wanted: tuple[PodWanted, ...]) -> tuple[PodView, ...]:
        """Make the pods that are wanted, and what they need; return them as they are.

        Raises:
            ApiError: The API server refused, or does not answer.
        """
        await self._namespaces.ensure(session.namespace)
        try:
            return tuple([await self._create_pod(session, pod) for pod in wanted])
        except Forbidden:  # perhaps because the namespace's service account was deleted
            self._namespaces.forget(session.namespace)
            await self._namespaces.ensure(session.namespace)
            return tuple([await self._create_pod(session, pod) for pod in wanted])

    async def delete_pods(self, namespace: str, unwanted: tuple[PodUnwanted, ...]) -> None:
        """End the pods that must go; those that are gone or replaced already are fine.

        Raises:
            ApiError: The API server refused, or does not answer.
        """
        for pod in unwanted:
            try:
                await self._client.delete(POD, namespace, pod.name, uid=pod.uid, grace_seconds=pod.grace_seconds)
            except Conflict:
                found = await self.fetch_pod(namespace, pod.name)
                if found is not None and found.uid == pod.uid:
                    raise  # refused for another reason: a pod that stays must not get a second one beside it
                continue  # another pod has the name: the one that was meant is gone
            self._metrics.writes.labels("pod_delete").inc()

    async def _create_pod(self, session: SessionView, wanted: PodWanted) -> PodView:
        """Make the pod of an epoch. A name that somebody else's object has costs an epoch, nothing more."""
        await self._ensure_claim(session, wanted.agent)
        agent = next(agent for agent in resolve(session.spec).agents if agent.name == wanted.agent)
        for epoch in range(wanted.epoch, wanted.epoch + EPOCHS_TRIED):
            try:
                raw = await self._client.create(
                    POD, session.namespace, build_pod(session, agent, epoch, self._settings)
                )
            except AlreadyExists:
                name = pod_name(session.name, session.uid, agent.name, epoch)
                found = await self.fetch_pod(session.namespace, name)
                if found is not None and _is_of(found, session, agent.name, epoch):
                    return found
                log.warning("pod name taken", session=f"{session.namespace}/{session.name}", pod=name, epoch=epoch)
                continue
            self._metrics.writes.labels("pod").inc()
            pod = to_pod(raw)
            if pod is None:
                raise AssertionError("a pod that we built is an agent pod")
            return pod
        taken = f"{EPOCHS_TRIED} pod names of session {session.namespace}/{session.name} are taken by other pods"
        raise Unreachable(f"{taken}: delete them")

    async def _ensure_claim(self, session: SessionView, agent: str) -> None:
        if session.spec.workspace is None:
            return
        claim = build_claim(session, agent, session.spec.workspace)
        path = resource_path(PERSISTENT_VOLUME_CLAIM, session.namespace, claim["metadata"]["name"])
        try:
            await self._client.get(path)
        except NotFound:
            try:
                await self._client.create(PERSISTENT_VOLUME_CLAIM, session.namespace, claim)
            except AlreadyExists:
                return
            self._metrics.writes.labels("claim").inc()


def _is_of(pod: PodView, session: SessionView, agent: str, epoch: int) -> bool:
    """Tell whether a pod is ours: an earlier pass made it, and its status write failed."""
    return pod.session_uid == session.uid and pod.agent == agent and pod.epoch == epoch and not pod.is_deleting
