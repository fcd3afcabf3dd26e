"""Finds changes of sessions that were made past the gateway, and has each one audited once.

What the API server tells of a change is its generation, and in `metadata.managedFields` when and under which field
manager; a person it does not tell. Changes that a gateway made carry its own field manager: those are recorded by the
request that asked for them, and here only when it did not (the process died in between). The same holds where the
API server does not tell who it was: for deletions, for changes that only removed fields, and for two in one second.

Two gateways see the same changes; the journal takes the first to tell.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Final

import structlog

from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.journal import audit, sessions
from agentsessions.journal.acts import Act, AuditRecord, Door, Verdict
from agentsessions.journal.store import Store
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.facts import SessionView

log = structlog.get_logger(__name__)

FIELD_MANAGER: Final = "agentsessions-gateway"
BATCH: Final = 100
RETRY_SECONDS: Final = 2.0
LONGEST_SLEEP_SECONDS: Final = 600.0

ACTS: Final[Mapping[str | None, Act]] = {
    OperatingMode.RUNNING: Act.RESUME,
    OperatingMode.PAUSED: Act.PAUSE,
    OperatingMode.CANCELLED: Act.CANCEL,
}
"""What a change to an operating mode is."""

Fingerprint = frozenset[tuple[str, str]]
"""Field managers of the spec, each with when it last changed it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A change, and whether a request of a gateway may be about to record it."""

    record: AuditRecord
    may_be_ours: bool


class ManifestActs:
    """Changes that were seen, on their way to the audit."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], datetime],
        namespace_uid: Callable[[str], Awaitable[str | None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._namespace_uid = namespace_uid
        self._managers: dict[str, Fingerprint] = {}
        self._seen: dict[str, Seen] = {}
        self._is_new = asyncio.Event()
        self._writing = asyncio.Lock()
        self._due: datetime | None = None

    def note(self, raw: Mapping[str, Any], before: SessionView | None) -> None:
        """Remember the version of a resource that was just seen, if its spec is new.

        Args:
            raw: The resource.
            before: Its version that was seen before this one.
        """
        metadata = raw["metadata"]
        generation = metadata.get("generation", 1)
        if before is not None and before.generation == generation:
            return
        known = self._managers.get(metadata["uid"])
        managers = self._managers[metadata["uid"]] = spec_managers(metadata)
        seen = to_seen(raw, managers, known, _act_of(raw, generation, before))
        once = audit.once_of(seen.record)
        if once is not None:
            self._seen[once] = seen
            self._is_new.set()

    async def note_end(self, uid: str) -> None:
        """Have the end of a session's resource audited; on return the journal knows of it."""
        self._managers.pop(uid, None)
        await self._flush()
        at = self._clock()
        self._wait_until(await self._store.write(lambda work: _note_end(work, uid, at)))

    async def run(self) -> None:
        """Write what was seen, for ever."""
        self._is_new.set()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_new.wait(), self._sleep_seconds())
            self._is_new.clear()
            try:
                await self.write()
            except Exception:  # the next try finds all of it
                log.exception("audit not written", changes=len(self._seen), retry_seconds=RETRY_SECONDS)
                await asyncio.sleep(RETRY_SECONDS)
                self._is_new.set()

    async def write(self) -> None:
        """Write what was seen, and what no request accounted for in time."""
        await self._flush()
        due = await self._store.read(audit.next_due) if self._due is None else self._due
        if due is not None and due <= self._clock():
            settled = await self._store.write(audit.settle)
            log.debug("changes without a request recorded", records=settled)
            due = await self._store.read(audit.next_due)
        self._due = due

    def _sleep_seconds(self) -> float:
        if self._due is None:
            return LONGEST_SLEEP_SECONDS
        return min(LONGEST_SLEEP_SECONDS, max(0.0, (self._due - self._clock()).total_seconds()))

    async def _flush(self) -> None:
        async with self._writing:
            while self._seen:
                batch = dict(islice(self._seen.items(), BATCH))
                wanted = await self._store.read(audit.unrecorded, tuple(batch))
                fresh = [await self._placed(one) for once, one in batch.items() if once in wanted]
                if fresh:
                    self._wait_until(await self._store.write(partial(_note_all, batch=fresh)))
                for once in batch:
                    del self._seen[once]

    async def _placed(self, seen: Seen) -> Seen:
        uid = await self._namespace_uid(seen.record.namespace)
        return replace(seen, record=replace(seen.record, namespace_uid=uid or ""))

    def _wait_until(self, due: datetime | None) -> None:
        if due is not None and (self._due is None or due < self._due):
            self._due = due
            self._is_new.set()


def spec_managers(metadata: Mapping[str, Any]) -> Fingerprint:
    """Return who owns fields of the spec, and when each last changed one."""
    return frozenset(
        (entry.get("manager", ""), entry.get("time", ""))
        for entry in metadata.get("managedFields") or ()
        if "subresource" not in entry and "f:spec" in (entry.get("fieldsV1") or {})
    )


def to_seen(raw: Mapping[str, Any], managers: Fingerprint, known: Fingerprint | None, act: Act) -> Seen:
    """Return a change as it is to be audited.

    Args:
        raw: The resource after it.
        managers: Field managers of its spec now.
        known: Field managers of the version before, where that was seen.
        act: What it was.
    """
    metadata = raw["metadata"]
    generation = metadata.get("generation", 1)
    changed = managers - (known or frozenset())
    newest = max((at for _, at in changed or managers), default="")
    latest = sorted(manager for manager, at in changed or managers if at == newest)
    is_told = generation == 1 or (known is not None and bool(changed))
    others = [manager for manager in latest if manager != FIELD_MANAGER]
    record = AuditRecord(
        act=act,
        by=Door.MANIFEST,
        outcome=Verdict.DONE,
        namespace=metadata["namespace"],
        session_uid=metadata["uid"],
        session_name=metadata["name"],
        generation=generation,
        field_manager=(others or latest or [""])[0],
        at=datetime.fromisoformat(newest) if newest else None,
    )
    return Seen(record, may_be_ours=not is_told or FIELD_MANAGER in latest)


def _act_of(raw: Mapping[str, Any], generation: int, before: SessionView | None) -> Act:
    if generation == 1:
        return Act.CREATE
    mode = raw["spec"].get("operatingMode")
    if before is None or mode == before.spec.operating_mode:
        return Act.UPDATE
    return ACTS.get(mode, Act.UPDATE)


def _note_all(work: Work, batch: list[Seen]) -> datetime | None:
    due = [audit.note_change(work, seen.record, may_be_ours=seen.may_be_ours) for seen in batch]
    return min((at for at in due if at is not None), default=None)


def _note_end(work: Work, uid: str, at: datetime) -> datetime | None:
    row, newest = sessions.find_by_uid(work.conn, uid), audit.newest_of(work.conn, uid)
    known = AuditRecord(act=Act.DELETE, by=Door.MANIFEST, outcome=Verdict.DONE, session_uid=uid, at=at)
    if row is not None:
        known = replace(known, namespace=row.namespace, namespace_uid=row.namespace_uid, session_name=row.name)
    elif newest is not None:
        known = replace(
            known,
            namespace=newest.namespace,
            namespace_uid=newest.namespace_uid,
            session_name=newest.session_name,
        )
    return audit.note_change(work, known, may_be_ours=True)
