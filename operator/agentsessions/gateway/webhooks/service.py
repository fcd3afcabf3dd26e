"""The webhooks' parts, put together."""

import asyncio
import hashlib
from typing import Any, Final

import structlog

from agentsessions.api.names import API_VERSION
from agentsessions.api.reasons import Reason
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, ApiError
from agentsessions.engine.resources import EVENT
from agentsessions.gateway.proxy.guard import Network
from agentsessions.gateway.webhooks.directory import SESSION_WEBHOOK, Webhook, WebhookDirectory
from agentsessions.gateway.webhooks.sender import Sender
from agentsessions.journal import outbox
from agentsessions.journal.outbox import Delivery
from agentsessions.journal.refusals import StoreUnavailable
from agentsessions.journal.store import Store, utc_now

log = structlog.get_logger(__name__)

RETRY_SECONDS: Final = 2.0
REPORTER: Final = "agentsessions-gateway"
NOTE_BYTES: Final = 1024
"""Source: validation of events.k8s.io/v1 in Kubernetes."""


class Webhooks:
    """Tells receivers of transitions."""

    def __init__(self, client: Client, store: Store, networks: tuple[Network, ...]) -> None:
        """Watch through `client`; receivers may be in `networks` besides public ones."""
        self._client = client
        self._store = store
        self.directory = WebhookDirectory(client, store, utc_now, self._wake)
        self._sender = Sender(store, self.directory, networks, utc_now)
        self._sender.on_given_up = self._tell_given_up
        self._telling: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Watch and send, for ever."""
        stored = await self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.directory.informer.run())
            tasks.create_task(self.directory.run(stored))
            tasks.create_task(self._sender.run())

    async def _begin(self) -> set[str]:
        """Take back what an earlier process left claimed; return the uids of the webhooks that the journal has."""
        # A journal of one's own has no other senders: what is claimed there was claimed by a process that is gone.
        whose = self._store.instance if self._store.is_shared else None
        while True:
            try:
                await self._store.write(lambda work: outbox.release(work, whose))
                return await self._store.read(outbox.read_receivers)
            except StoreUnavailable as error:
                log.warning("webhooks wait for the journal", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def _wake(self) -> None:
        self._sender.wake()

    def _tell_given_up(self, hook: Webhook, one: Delivery, failure: str) -> None:
        task = asyncio.create_task(self._send_event(hook, one, failure))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _send_event(self, hook: Webhook, one: Delivery, failure: str) -> None:
        try:
            await self._client.create(EVENT, hook.namespace, build_event(hook, one, failure))
        except AlreadyExists:
            pass
        except ApiError as error:
            log.warning("event not sent", namespace=hook.namespace, webhook=hook.name, error=str(error))


def build_event(hook: Webhook, one: Delivery, failure: str) -> dict[str, Any]:
    """Return the Event that a transition was given up."""
    digest = hashlib.sha256(f"{hook.uid}/{one.id}".encode()).hexdigest()[:16]
    note = f"transition {one.id} was given up after {one.attempts + 1} requests, the last one: {failure}"
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": f"{hook.name}.{digest}", "namespace": hook.namespace},
        "eventTime": utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": REPORTER,
        "reportingInstance": REPORTER,
        "action": "Deliver",
        "type": "Warning",
        "reason": Reason.DELIVERY_GIVEN_UP.value,
        "note": note.encode()[:NOTE_BYTES].decode(errors="ignore"),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": SESSION_WEBHOOK.kind,
            "namespace": hook.namespace,
            "name": hook.name,
            "uid": hook.uid,
        },
    }
