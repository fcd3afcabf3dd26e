"""SessionWebhooks as the API server last showed them, on their way into the journal; their status, on its way back.

What is stored holds from then on for each transition, whichever gateway journals it: that is when Ready is written.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from pydantic import ValidationError

from agentsessions.api.names import GROUP, VERSION
from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.webhook import SessionWebhookSpec, SessionWebhookStatus
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError, Conflict, NotFound
from agentsessions.engine.informer import Informer
from agentsessions.engine.queue import KeyedQueue
from agentsessions.engine.resources import Resource
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.providers import KeyReader
from agentsessions.gateway.webhooks.signature import to_key
from agentsessions.journal import outbox
from agentsessions.journal.outbox import Account, Receiver
from agentsessions.journal.store import Store
from agentsessions.lifecycle.conditions import build_condition

log = structlog.get_logger(__name__)

SESSION_WEBHOOK: Final = Resource(GROUP, VERSION, "sessionwebhooks", "SessionWebhook")
LOOK_SECONDS: Final = 60.0
"""Between two looks at a webhook about which nothing happens: another gateway may have sent, a key be there now."""
NEWS_SECONDS: Final = 5.0
"""Between deliveries and the status that tells of them: one write for many."""
RETRY_SECONDS: Final = 2.0
WORKERS: Final = 4


@dataclass(frozen=True, slots=True)
class Webhook:
    """A SessionWebhook as the API server last showed it."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: SessionWebhookSpec | None
    """None: this version does not understand it."""
    status: SessionWebhookStatus

    @property
    def is_sent_to(self) -> bool:
        """Whether requests may be sent."""
        return self.spec is not None and not self.spec.suspend


class KeyFault(Exception):  # noqa: N818 - a fault of the user's, told in status
    """Signing keys that cannot be had; the text tells none."""


class WebhookDirectory:
    """All webhooks, kept current by a watch, and what the journal knows of them."""

    def __init__(self, client: Client, store: Store, clock: Callable[[], datetime], wake: Callable[[], None]) -> None:
        """Watch through `client`; `wake` is called when more may have to be sent than before."""
        self._client = client
        self._store = store
        self._clock = clock
        self._wake = wake
        self._keys = KeyReader(client, "The SessionWebhook's signing key")
        self._queue = KeyedQueue()
        self._stored: dict[str, int] = {}
        self.informer: Final[Informer[Webhook]] = Informer(
            client, SESSION_WEBHOOK, convert=to_webhook, key_of=lambda hook: hook.uid, on_change=self._changed
        )

    def find(self, uid: str) -> Webhook | None:
        """Return the webhook with this uid."""
        return self.informer.get(uid)

    def note(self, uid: str) -> None:
        """Have the status of a webhook say what became of a delivery, soon."""
        self._queue.add_after(uid, NEWS_SECONDS)

    async def keys(self, hook: Webhook) -> Sequence[bytes]:
        """Return the signing keys of a webhook.

        Raises:
            KeyFault: One of them cannot be read, or is none.
        """
        found = []
        for ref in hook.spec.secret_key_refs if hook.spec else ():
            try:
                found.append(to_key(await self._keys.value(hook.namespace, ref)))
            except ModelFault as fault:
                raise KeyFault(fault.message) from fault
            except ValueError as error:
                where = f"key {ref.key!r} of Secret {hook.namespace}/{ref.name}"
                raise KeyFault(f"The SessionWebhook's {where} is no signing key: {error}.") from error
        return found

    async def run(self, stored: Iterable[str]) -> None:
        """Copy webhooks to the journal and write their status, for ever.

        Args:
            stored: Uids that the journal has: they may have been deleted while no gateway was there.
        """
        await self.informer.is_synced.wait()
        for uid in stored:
            self._queue.add(uid)
        await self._queue.work(self._look_safely, WORKERS)

    def _changed(self, old: Webhook | None, new: Webhook | None) -> None:
        changed = new or old
        # What only our own status writes changed is no news.
        if changed is not None and (old is None or new is None or old.generation != new.generation):
            self._queue.add(changed.uid)
            self._wake()

    async def _look_safely(self, uid: str) -> None:
        try:
            await self._look(uid)
        except Exception:  # one webhook's failure must not stop the others
            log.exception("webhook not looked at", webhook=uid, retry_seconds=RETRY_SECONDS)
            self._queue.add_after(uid, RETRY_SECONDS)

    async def _look(self, uid: str) -> None:
        hook = self.informer.get(uid)
        if hook is None:
            self._stored.pop(uid, None)
            await self._store.write(lambda work: outbox.remove_receiver(work, uid))
            return
        if hook.spec is not None and self._stored.get(uid) != hook.generation:
            receiver = to_receiver(hook, hook.spec)
            await self._store.write(lambda work: outbox.put_receiver(work, receiver))
            self._stored[uid] = hook.generation
        account = (await self._store.read(outbox.read_accounts, [uid])).get(uid)
        problem = ""
        try:
            await self.keys(hook)
        except KeyFault as fault:
            problem = str(fault)
        self._queue.add_after(uid, LOOK_SECONDS)
        wanted = build_status(hook, account, problem, self._clock())
        if wanted != hook.status:
            await self._write(hook, wanted)

    async def _write(self, hook: Webhook, wanted: SessionWebhookStatus) -> None:
        empty = dict.fromkeys(field.alias or name for name, field in SessionWebhookStatus.model_fields.items())
        status: dict[str, object] = empty | wanted.to_json()
        body = {"metadata": {"resourceVersion": hook.resource_version}, "status": status}
        try:
            await self._client.merge_patch(SESSION_WEBHOOK, hook.namespace, hook.name, body, subresource="status")
        except (Conflict, NotFound):  # the next look sees what it is now
            self._queue.add_after(hook.uid, RETRY_SECONDS)
        except ApiError as error:
            log.warning("webhook's status not written", namespace=hook.namespace, name=hook.name, error=str(error))


def to_webhook(found: Mapping[str, Any]) -> Webhook:
    """Return the view of a SessionWebhook."""
    metadata, spec, status = found["metadata"], None, SessionWebhookStatus()
    try:
        spec = SessionWebhookSpec.model_validate(found.get("spec", {}))
        status = SessionWebhookStatus.model_validate(found.get("status") or {}, extra="ignore")
    except ValidationError as error:
        # Without the values: receivers' URLs may hold secrets.
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        log.warning("webhook not read", namespace=metadata["namespace"], name=metadata["name"], problems=problems)
    return Webhook(
        metadata["namespace"],
        metadata["name"],
        metadata["uid"],
        metadata.get("generation", 0),
        metadata["resourceVersion"],
        spec,
        status,
    )


def to_receiver(hook: Webhook, spec: SessionWebhookSpec) -> Receiver:
    """Return what the journal keeps of a webhook."""
    return Receiver(
        uid=hook.uid,
        namespace=hook.namespace,
        generation=hook.generation,
        match_labels=(spec.selector and spec.selector.match_labels) or {},
        phases=None if spec.phases is None else [phase.value for phase in spec.phases],
    )


def build_status(hook: Webhook, account: Account | None, problem: str, now: datetime) -> SessionWebhookStatus:
    """Return the status of a webhook.

    Args:
        hook: The webhook.
        account: What the journal knows of its deliveries; None: not the webhook.
        problem: What is wrong with its keys, if anything.
        now: Aware UTC.
    """
    if hook.spec is None:
        judged = Reason.INVALID_SPEC, "the gateway does not understand its spec: it may be of a newer version"
    elif problem:
        judged = Reason.SECRET_NOT_READABLE, problem
    elif hook.spec.suspend:
        judged = Reason.SUSPENDED, "nothing is sent while spec.suspend is true"
    elif account is not None and account.failures:
        judged = Reason.DELIVERY_FAILING, f"the last request failed: {account.failure}"
    else:
        judged = Reason.ACCEPTED, ""
    ready = build_condition(
        ConditionType.READY,
        hook.status.conditions,
        now,
        is_true=judged[0] in {Reason.ACCEPTED, Reason.SUSPENDED},
        reason=judged[0],
        message=judged[1],
        generation=hook.generation,
    )
    if account is None:
        return SessionWebhookStatus(observed_generation=hook.generation, conditions=[ready])
    return SessionWebhookStatus(
        observed_generation=hook.generation,
        conditions=[ready],
        last_delivery_at=_to_second(account.delivered_at),
        last_failure_at=_to_second(account.failed_at),
        delivered=account.delivered,
        waiting=account.waiting,
        failures=account.failures,
        lost=account.lost,
    )


def _to_second(at: datetime | None) -> datetime | None:
    return at and at.replace(microsecond=0)
