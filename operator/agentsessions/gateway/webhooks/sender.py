"""Posts transitions to receivers, from the journal's outbox: at least once, in order for each session.

- A delivery is claimed, sent, and then recorded. Who dies in between leaves a claim that ends, and the same id is sent
  again; two gateways of one journal never hold the same claim.
- A receiver gets a few requests at a time, one that fails a single one: the slow and the dead hold up nobody else, and
  no session waits for any of them.
- Of an answer its status alone counts. Its body is not read, and told to nobody.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from http import HTTPStatus
from typing import Final

import httpx2
import structlog

from agentsessions.api.v1alpha1.webhook import DEFAULT_TIMEOUT_SECONDS
from agentsessions.gateway import metrics
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.guard import GuardedBackend, Network
from agentsessions.gateway.proxy.transport import GuardedTransport
from agentsessions.gateway.webhooks.directory import KeyFault, Webhook, WebhookDirectory
from agentsessions.gateway.webhooks.signature import sign
from agentsessions.journal import outbox
from agentsessions.journal.outbox import Delivery, Lane, Result
from agentsessions.journal.refusals import StoreUnavailable
from agentsessions.journal.store import Store
from agentsessions.lifecycle.webhooks import wait_after

log = structlog.get_logger(__name__)

AT_ONCE: Final = 4
"""Requests to one webhook."""
AT_ONCE_IN_ALL: Final = 128
CLAIM: Final = timedelta(seconds=90)
"""Longer than a request may take with all that belongs to it: after that another gateway takes over."""
LOOK_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 0.2
"""Between two looks at the outbox: what is committed together is found together."""
MOST_ASKED_SECONDS: Final = 3600


class Sender:
    """Sends what is due."""

    def __init__(
        self, store: Store, directory: WebhookDirectory, networks: tuple[Network, ...], clock: Callable[[], datetime]
    ) -> None:
        """Dial public addresses and `networks`."""
        self._store = store
        self._directory = directory
        self._clock = clock
        transport = GuardedTransport(GuardedBackend(networks, what="The SessionWebhook's url"))
        self._http = httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=False)
        self._wake = asyncio.Event()
        self._under_way: Counter[str] = Counter()
        self._oldest_at: datetime | None = None
        self.on_given_up: Callable[[Webhook, Delivery, str], object] = lambda *_: None
        """Told of each delivery that is not tried again."""

    def wake(self) -> None:
        """Have the outbox looked at."""
        self._wake.set()

    async def run(self) -> None:
        """Send, for ever."""
        metrics.WEBHOOK_OLDEST_SECONDS.set_function(self._oldest_seconds)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen())
                while True:
                    self._wake.clear()
                    seconds = await self._send_due(tasks)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            await self._wake.wait()
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await self._http.aclose()

    async def _listen(self) -> None:
        """Look after each commit, while anybody wants to be told of anything."""
        async for _ in self._store.changes():
            if len(self._directory.informer):
                self._wake.set()

    def _oldest_seconds(self) -> float:
        return 0.0 if self._oldest_at is None else (self._clock() - self._oldest_at).total_seconds()

    async def _send_due(self, tasks: asyncio.TaskGroup) -> float:
        """Begin to send what is due; return in how many seconds to look again."""
        try:
            waiting, self._oldest_at = await self._store.read(outbox.read_backlog)
            metrics.WEBHOOK_WAITING.set(waiting)
            lanes = await self._store.read(outbox.read_lanes)
            room = self._find_room(lanes)
            claimed: list[Delivery] = []
            if room:
                claim = partial(outbox.claim, room=room, instance=self._store.instance, span=CLAIM)
                claimed = await self._store.write(claim)
        except StoreUnavailable as error:
            log.warning("webhooks wait for the journal", error=str(error))
            return LOOK_SECONDS
        except Exception:  # what goes wrong here must not take the gateway, and its sessions, with it
            log.exception("webhooks not looked at", next_try_seconds=LOOK_SECONDS)
            return LOOK_SECONDS
        for one in claimed:
            self._under_way[one.webhook_uid] += 1
            tasks.create_task(self._deliver(one))
        later = [(lane.next_at - self._clock()).total_seconds() for lane in lanes if lane.webhook_uid not in room]
        return min([LOOK_SECONDS, *(seconds for seconds in later if seconds > 0)])

    def _find_room(self, lanes: list[Lane]) -> dict[str, int]:
        """Return how many more requests each webhook may be sent that has something due."""
        room, left, now = {}, AT_ONCE_IN_ALL - self._under_way.total(), self._clock()
        for lane in sorted(lanes, key=lambda one: one.next_at):
            hook = self._directory.find(lane.webhook_uid)
            if hook is None or not hook.is_sent_to or lane.next_at > now:
                continue
            most = (1 if lane.failures else AT_ONCE) - self._under_way[lane.webhook_uid]
            if (free := min(most, left)) > 0:
                room[lane.webhook_uid] = free
                left -= free
        return room

    async def _deliver(self, one: Delivery) -> None:
        """Send one delivery, and record how it went."""
        try:
            hook = self._directory.find(one.webhook_uid)
            if hook is not None and hook.is_sent_to:
                await self._record(hook, one, *await self._post(hook, one))
        except StoreUnavailable as error:  # its claim ends by itself
            log.warning("delivery not recorded; it is sent again", id=one.id, error=str(error))
        except Exception:
            log.exception("delivery failed", id=one.id)
        finally:
            self._under_way[one.webhook_uid] -= 1
            self._directory.note(one.webhook_uid)
            self._wake.set()

    async def _record(self, hook: Webhook, one: Delivery, failure: str, asked: timedelta) -> None:
        if not failure:
            result = await self._store.write(partial(outbox.note_delivered, one=one))
        else:
            wait = wait_after(one.attempts + 1, random.random(), asked)  # noqa: S311 - spreads a crowd, hides nothing
            note = partial(outbox.note_failed, one=one, failure=failure, wait=wait, instance=self._store.instance)
            result = await self._store.write(note)
            log.warning(
                "webhook failed",
                namespace=hook.namespace,
                webhook=hook.name,
                id=one.id,
                attempt=one.attempts + 1,
                result=result.value,
                failure=failure,
            )
        metrics.WEBHOOK_REQUESTS.labels(result).inc()
        if result is Result.GIVEN_UP:
            self.on_given_up(hook, one, failure)

    async def _post(self, hook: Webhook, one: Delivery) -> tuple[str, timedelta]:
        """Send one request; return what went wrong, or nothing, and how long the receiver wants to be left alone."""
        assert hook.spec is not None  # noqa: S101 - for mypy: `is_sent_to`
        seconds = hook.spec.timeout_seconds or DEFAULT_TIMEOUT_SECONDS
        try:
            keys = await self._directory.keys(hook)
            body = one.body.encode()
            headers = sign(keys, one.id, int(self._clock().timestamp()), body)
            headers |= {"content-type": "application/cloudevents+json", "user-agent": "agentsessions"}
            async with asyncio.timeout(seconds):
                asking = self._http.stream("POST", hook.spec.url, content=body, headers=headers, timeout=seconds)
                async with asking as response:
                    return judge(response.status_code), to_span(response.headers.get("retry-after", ""))
        except (KeyFault, httpx2.InvalidURL) as error:
            return str(error), timedelta()
        except ModelFault as fault:
            return fault.message, timedelta()
        except (TimeoutError, httpx2.TimeoutException):
            return f"no answer within {seconds} s", timedelta()
        except httpx2.HTTPError as error:
            return f"{type(error).__name__}: {error}".removesuffix(": "), timedelta()


def judge(status: int) -> str:
    """Return what is wrong with an answer, by its status; nothing when the request was taken."""
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return ""
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"the receiver answered {status}: redirects are not followed, put the address itself into spec.url"
    return f"the receiver answered {status}"


def to_span(retry_after: str) -> timedelta:
    """Return how long a receiver asks to be left alone; what is no number of seconds counts for nothing."""
    if not retry_after.isascii() or not retry_after.isdecimal():
        return timedelta()
    return timedelta(seconds=min(int(retry_after[:9]), MOST_ASKED_SECONDS))
