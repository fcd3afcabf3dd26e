"""The newest view of each session and provider, whoever brought it: kopf's stream, a write's answer, or the sweep.

An older view never replaces a newer one of the same object. So a pass never works on a view older than our own last
write: the write's answer is stored at once, and what the stream still has to say about earlier versions is dropped.
"""

from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol, TypeVar

from agentsessions.api.reasons import Phase
from agentsessions.controller.views import (
    ProviderRecord,
    QuotaRecord,
    Raw,
    SessionRecord,
    TemplateRecord,
    to_provider,
    to_quota,
    to_session,
    to_template,
)
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.quotas import Quota

Key = str
"""`namespace/name`."""


def key_of(namespace: str, name: str) -> Key:
    """Return the key of a namespaced object."""
    return f"{namespace}/{name}"


def key_of_raw(raw: Raw) -> Key:
    """Return the key of an object as the API server sends it."""
    return key_of(raw["metadata"]["namespace"], raw["metadata"]["name"])


def is_older(version: str, than: str) -> bool:
    """Tell whether one resourceVersion comes before another.

    Source: KEP-5504, resourceVersions of one resource compare as numbers.
    """
    if version.isdecimal() and than.isdecimal():
        return int(version) < int(than)
    return False


class Versioned(Protocol):
    """What a record must tell."""

    @property
    def uid(self) -> str: ...  # noqa: D102  # named by Kubernetes
    @property
    def resource_version(self) -> str: ...  # noqa: D102  # named by Kubernetes


R = TypeVar("R")


class Records(Generic[R]):
    """Newest record of each object of one kind."""

    def __init__(self, convert: Callable[[Raw], R], version: Callable[[R], Versioned]) -> None:
        self._convert = convert
        self._version = version
        self._records: dict[Key, R] = {}

    def get(self, key: Key) -> R | None:
        """Return the record under `key`."""
        return self._records.get(key)

    def version_of(self, key: Key) -> str | None:
        """Return the resourceVersion of what is known under `key`."""
        known = self._records.get(key)
        return None if known is None else self._version(known).resource_version

    def put(self, raw: dict[str, Any]) -> tuple[R, bool]:
        """Keep the object if it is news; return what is now known, and whether it is news."""
        key, record = key_of_raw(raw), self._convert(raw)
        known = self._records.get(key)
        if known is not None:
            old, new = self._version(known), self._version(record)
            is_same = old.uid == new.uid and old.resource_version == new.resource_version
            if is_same or is_older(new.resource_version, old.resource_version):
                return known, False
        self._records[key] = record
        return record, True

    def remove(self, key: Key, uid: str | None = None) -> R | None:
        """Forget the object, if it is still the one with `uid`; return what was known."""
        known = self._records.get(key)
        if known is None or (uid is not None and self._version(known).uid != uid):
            return None
        return self._records.pop(key)

    def items(self) -> Iterator[tuple[Key, R]]:
        """Iterate over a copy, so that the store may change meanwhile."""
        return iter(list(self._records.items()))

    def all_keys(self) -> list[Key]:
        """Return the keys of all objects."""
        return list(self._records)

    def __len__(self) -> int:
        return len(self._records)


OwnId = tuple[str, str, str]
"""Namespace, owner (empty for none) and `spec.sessionId`: what is unique."""


def own_id_of(session: SessionView) -> OwnId | None:
    """Return the session's own id; None when it has none."""
    session_id = session.spec.session_id
    return None if session_id is None else (session.namespace, session.spec.owner or "", session_id)


def director_key(session: SessionView) -> Key | None:
    """Return the key of the director that the session names."""
    ref = session.spec.director_ref
    return None if ref is None else key_of(session.namespace, ref.name)


class Sessions(Records[SessionRecord]):
    """Sessions by key and by uid."""

    def __init__(self) -> None:
        super().__init__(to_session, lambda record: record.view)
        self._keys: dict[str, Key] = {}
        self._own_ids: dict[OwnId, set[Key]] = {}
        self._by_director: dict[Key, set[Key]] = {}

    def put(self, raw: dict[str, Any]) -> tuple[SessionRecord, bool]:
        """Keep the session if it is news."""
        before = self.get(key_of_raw(raw))
        record, is_new = super().put(raw)
        if before is not None and before.view.uid != record.view.uid:
            self._drop(before.view)
        key = key_of(record.view.namespace, record.view.name)
        self._keys[record.view.uid] = key
        if (own_id := own_id_of(record.view)) is not None:
            self._own_ids.setdefault(own_id, set()).add(key)
        if (director := director_key(record.view)) is not None:
            self._by_director.setdefault(director, set()).add(key)
        return record, is_new

    def remove(self, key: Key, uid: str | None = None) -> SessionRecord | None:
        """Forget the session."""
        record = super().remove(key, uid)
        if record is not None:
            self._drop(record.view)
        return record

    def with_own_id(self, own_id: OwnId) -> list[SessionView]:
        """Return the sessions that have an id of their owner's."""
        found = (self.get(key) for key in self._own_ids.get(own_id, ()))
        return [record.view for record in found if record is not None]

    def with_director(self, director: Key) -> list[SessionRecord]:
        """Return the sessions that name a director."""
        found = (self.get(key) for key in sorted(self._by_director.get(director, ())))
        return [record for record in found if record is not None]

    def key_of_uid(self, uid: str) -> Key | None:
        """Return the key of the session with `uid`."""
        return self._keys.get(uid)

    def open_keys(self) -> list[Key]:
        """Return the keys of sessions that are not final."""
        return [key for key, record in self.items() if record.view.status.phase not in TERMINAL]

    def pending_keys(self) -> list[Key]:
        """Return the keys of sessions whose references are not yet accepted."""
        waiting = (None, Phase.PENDING)
        return [key for key, record in self.items() if record.view.status.phase in waiting]

    def keys_with_template(self, template: Key) -> list[Key]:
        """Return the keys of sessions that are not final and name a template."""
        found = []
        for key, record in self.items():
            named = record.view.spec.template_ref
            if named is not None and key_of(record.view.namespace, named.name) == template:
                found.append(key)
        return [key for key in found if self._records[key].view.status.phase not in TERMINAL]

    def _drop(self, session: SessionView) -> None:
        self._keys.pop(session.uid, None)
        director = director_key(session)
        if director is not None and director in self._by_director:
            self._by_director[director].discard(key_of(session.namespace, session.name))
            if not self._by_director[director]:
                del self._by_director[director]
        own_id = own_id_of(session)
        if own_id is not None and own_id in self._own_ids:
            self._own_ids[own_id].discard(key_of(session.namespace, session.name))
            if not self._own_ids[own_id]:
                del self._own_ids[own_id]


class Providers(Records[ProviderRecord]):
    """ModelProviders by key."""

    def __init__(self) -> None:
        super().__init__(to_provider, lambda record: record)


class Templates(Records[TemplateRecord]):
    """AgentSessionTemplates by key."""

    def __init__(self) -> None:
        super().__init__(to_template, lambda record: record)


class Quotas(Records[QuotaRecord]):
    """SessionQuotas by key and by namespace."""

    def __init__(self) -> None:
        super().__init__(to_quota, lambda record: record)
        self._by_namespace: dict[str, dict[Key, Quota]] = {}

    def put(self, raw: dict[str, Any]) -> tuple[QuotaRecord, bool]:
        """Keep the quota if it is news."""
        record, is_new = super().put(raw)
        self._by_namespace.setdefault(record.namespace, {})[key_of_raw(raw)] = record.view
        return record, is_new

    def remove(self, key: Key, uid: str | None = None) -> QuotaRecord | None:
        """Forget the quota."""
        record = super().remove(key, uid)
        if record is not None:
            quotas = self._by_namespace[record.namespace]
            del quotas[key]
            if not quotas:
                del self._by_namespace[record.namespace]
        return record

    def of(self, namespace: str) -> tuple[Quota, ...]:
        """Return the quotas of a namespace."""
        return tuple(self._by_namespace.get(namespace, {}).values())

    def keys_of(self, namespace: str) -> tuple[Key, ...]:
        """Return their keys."""
        return tuple(self._by_namespace.get(namespace, ()))

    def namespaces(self) -> list[str]:
        """Return the namespaces that have any."""
        return list(self._by_namespace)
