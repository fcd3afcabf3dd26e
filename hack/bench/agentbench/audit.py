"""The API server's audit log as a measuring instrument: who asked for what, when, and how it ended."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

from .cluster import GATEWAY, OPERATOR

PRODUCT = {OPERATOR: "operator", GATEWAY: "gateway"}
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
REVIEWS = frozenset({"tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews"})
"""Questions that the API takes as `create`: nothing is stored."""


@dataclass(frozen=True)
class Record:
    """One answered request."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    received_at: datetime

    @property
    def is_write(self) -> bool:
        """Whether it was to change something that is stored."""
        return self.verb in WRITES and self.resource not in REVIEWS

    @property
    def what(self) -> str:
        """Verb and resource, as in `patch agentsessions/status`."""
        return f"{self.verb} {self.resource}{'/' if self.subresource else ''}{self.subresource}"


class AuditLog:
    """What was logged since this was made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = path.stat()
        self._inode, self._offset = found.st_ino, found.st_size

    @classmethod
    def now(cls, path: str) -> Self:
        """Read from here on."""
        return cls(Path(path))

    def read(self) -> list[Record]:
        """Return all answered requests since the beginning, oldest first.

        Raises:
            LookupError: The log was rotated meanwhile: figures would be too low.
        """
        if self._path.stat().st_ino != self._inode:
            raise LookupError(f"{self._path} was rotated during the measurement; measure again")
        with self._path.open("rb") as log:
            log.seek(self._offset)
            return list(_parse(log))


def count_writes(records: Iterable[Record], namespace: str | None = None) -> Counter[str]:
    """Count accepted writes, in one namespace or in all, by what they were."""
    return Counter(record.what for record in _writes(records, namespace) if record.code < HTTPStatus.BAD_REQUEST)


def count_refusals(records: Iterable[Record], namespace: str | None = None) -> Counter[str]:
    """Count refused writes, in one namespace or in all, by what they were and the code."""
    return Counter(
        f"{record.what} -> {record.code}"
        for record in _writes(records, namespace)
        if record.code >= HTTPStatus.BAD_REQUEST
    )


def count_requests(records: Iterable[Record]) -> Counter[str]:
    """Count what operator and gateway asked for, reads included."""
    return Counter(f"{PRODUCT[record.user]}: {record.what}" for record in records if record.user in PRODUCT)


def _writes(records: Iterable[Record], namespace: str | None) -> Iterator[Record]:
    return (record for record in records if record.is_write and namespace in {None, record.namespace})


def _parse(lines: Iterable[bytes]) -> Iterator[Record]:
    for line in lines:
        if not line.endswith(b"\n"):
            return  # still being written
        raw: dict[str, Any] = json.loads(line)
        if raw["stage"] != "ResponseComplete":
            continue
        about = raw.get("objectRef", {})
        yield Record(
            user=raw["user"].get("username", ""),
            verb=raw["verb"],
            resource=about.get("resource", ""),
            subresource=about.get("subresource", ""),
            namespace=about.get("namespace", ""),
            name=about.get("name", ""),
            code=raw.get("responseStatus", {}).get("code", 0),
            received_at=datetime.fromisoformat(raw["requestReceivedTimestamp"]),
        )
