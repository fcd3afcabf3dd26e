"""Agent pods whose gateway is no longer where they look for it: its Service was deleted and made anew.

They cannot learn the new address, as they have no DNS. Ended, each is replaced like any lost pod, and its agent goes on
from the checkpoint. They are looked for whenever the gateway is reached again, and with each sweep besides.
"""

import asyncio

import structlog

from agentsessions.controller.gateway_service import GatewayService
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.pods import Pods
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError, Conflict
from agentsessions.engine.resources import POD
from agentsessions.lifecycle.facts import PodView

log = structlog.get_logger(__name__)


class Stranded:
    """Ends them."""

    def __init__(self, client: Client, gateway: GatewayService, pods: Pods, metrics: Metrics) -> None:
        self._client = client
        self._gateway = gateway
        self._pods = pods
        self._metrics = metrics
        self._is_due = asyncio.Event()

    def look(self) -> None:
        """Look for them now."""
        self._is_due.set()

    async def run(self) -> None:
        """Look for them for ever, whenever asked to."""
        while True:
            await self._is_due.wait()
            self._is_due.clear()
            await self.sweep()

    async def sweep(self) -> None:
        """End each of them once; what fails is tried again the next time."""
        try:
            addresses = await self._gateway.addresses(is_fresh=True)  # which the pods that follow get, too
        except ApiError as error:
            log.warning("gateway's service not read", error=str(error))
            return
        if not addresses:
            return
        for pod in self._pods.all():
            if not is_stranded(pod, addresses):
                continue
            try:
                await self._client.delete(POD, pod.namespace, pod.name, uid=pod.uid)
            except Conflict:
                continue  # another pod has the name: the one that was meant is gone
            except ApiError as error:
                log.warning("stranded pod not ended", namespace=pod.namespace, name=pod.name, error=str(error))
                continue
            self._metrics.writes.labels("pod_delete").inc()
            log.info("stranded pod ended", namespace=pod.namespace, name=pod.name, looked_at=pod.gateway)


def is_stranded(pod: PodView, addresses: tuple[str, ...]) -> bool:
    """Return whether a pod that lives knows the gateway by addresses that are all not its own (any more)."""
    if pod.is_deleting or pod.is_ended or not pod.gateway:
        return False
    return set(addresses).isdisjoint(pod.gateway.split(","))
