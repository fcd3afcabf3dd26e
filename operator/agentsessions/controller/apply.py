"""Making and ending a session's children. Names are deterministic, so each act may be done twice."""

import time
from dataclasses import replace
from itertools import product
from typing import Final

import structlog

from agentsessions.api.v1alpha1.placement import Volume
from agentsessions.children.claim import build_claim
from agentsessions.children.names import claim_name, pod_name
from agentsessions.children.pod import build_pod
from agentsessions.children.settings import PodSettings
from agentsessions.controller.gateway_service import GatewayService
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.namespaces import Namespaces
from agentsessions.controller.views import to_pod
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Unreachable
from agentsessions.engine.resources import PERSISTENT_VOLUME_CLAIM, POD, resource_path
from agentsessions.lifecycle.decision import PodUnwanted, PodWanted, unwanted
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import PodView, SessionView
from agentsessions.lifecycle.sites import site_key

EPOCHS_TRIED: Final = 5
"""Names taken by others that are passed over in one pass."""
ENDS_AGAIN_AFTER_SECONDS: Final = 10.0
"""A pod that was told to end is told once more when its watch does not say that it does."""

log = structlog.get_logger(__name__)


class Children:
    """Applies what a decision wants of children."""

    def __init__(
        self,
        client: Client,
        namespaces: Namespaces,
        gateway: GatewayService,
        settings: PodSettings,
        metrics: Metrics,
    ) -> None:
        self._client = client
        self._namespaces = namespaces
        self._settings = settings
        self._gateway = gateway
        self._metrics = metrics
        self._ended: dict[PodUnwanted, float] = {}

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

        A watch that is late shows a pod as it was: the API server is not told again for it in each pass.

        Raises:
            ApiError: The API server refused, or does not answer.
        """
        now = time.monotonic()
        self._ended = {pod: at for pod, at in self._ended.items() if now - at < ENDS_AGAIN_AFTER_SECONDS}
        for pod in unwanted:
            if pod in self._ended:
                continue
            try:
                await self._client.delete(POD, namespace, pod.name, uid=pod.uid, grace_seconds=pod.grace_seconds)
            except Conflict:
                found = await self.fetch_pod(namespace, pod.name)
                if found is not None and found.uid == pod.uid:
                    raise  # refused for another reason: a pod that stays must not get a second one beside it
                continue  # another pod has the name: the one that was meant is gone
            self._ended[pod] = now
            self._metrics.writes.labels("pod_delete").inc()

    async def _create_pod(self, session: SessionView, wanted: PodWanted) -> PodView:
        """Make the pod of an epoch. A name that somebody else's object has costs an epoch, nothing more."""
        await self._ensure_claims(session, wanted)
        agent = next(agent for agent in resolve(session.spec).agents if agent.name == wanted.agent)
        settings = replace(self._settings, gateway_addresses=await self._gateway.addresses())
        for epoch in range(wanted.epoch, wanted.epoch + EPOCHS_TRIED):
            try:
                pod = build_pod(session, agent, epoch, settings, wanted.site, wanted.copy_from)
                raw = await self._client.create(POD, session.namespace, pod)
            except AlreadyExists:
                name = pod_name(session.name, session.uid, agent.name, epoch)
                found = await self.fetch_pod(session.namespace, name)
                if found is not None and _is_of(found, session, agent.name, epoch):
                    if found.site == site_key(wanted.site):
                        return found
                    await self.delete_pods(session.namespace, unwanted((found,)))
                    raise Unreachable(f"pod {name} was made for another place: it is deleted first") from None
                log.warning("pod name taken", session=f"{session.namespace}/{session.name}", pod=name, epoch=epoch)
                continue
            self._metrics.writes.labels("pod").inc()
            made = to_pod(raw)
            if made is None:
                raise AssertionError("a pod that we built is an agent pod")
            return made
        taken = f"{EPOCHS_TRIED} pod names of session {session.namespace}/{session.name} are taken by other pods"
        raise Unreachable(f"{taken}: delete them")

    async def drop_volumes(self, session: SessionView, volumes: tuple[Volume, ...]) -> None:
        """Delete the claims of volumes that are not needed any more; a claim that is gone already is fine.

        Raises:
            ApiError: The API server refused, or does not answer.
        """
        for agent, volume in product(resolve(session.spec).agents, volumes):
            name = claim_name(session.name, session.uid, agent.name, volume)
            await self._client.delete(PERSISTENT_VOLUME_CLAIM, session.namespace, name)
            self._metrics.writes.labels("claim_delete").inc()

    async def resize(self, session: SessionView, volume: Volume) -> str:
        """Let the claims of a volume grow; return the API server's words when it refuses, else nothing.

        Raises:
            ApiError: The API server does not answer.
        """
        body = {"spec": {"resources": {"requests": {"storage": volume.size}}}}
        for agent in resolve(session.spec).agents:
            name = claim_name(session.name, session.uid, agent.name, volume)
            try:
                await self._client.merge_patch(PERSISTENT_VOLUME_CLAIM, session.namespace, name, body)
            except NotFound:
                continue  # of an agent that had nothing to do yet: it is made with its new size
            except (Forbidden, Invalid) as error:
                return error.said
            self._metrics.writes.labels("claim_resize").inc()
        return ""

    async def _ensure_claims(self, session: SessionView, wanted: PodWanted) -> None:
        """Make the claim of the pod's volume. Where that which is copied is gone, the pod says so."""
        if session.spec.workspace is None or wanted.site.volume is None:
            return
        claim = build_claim(session, wanted.agent, session.spec.workspace, wanted.site.volume)
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
