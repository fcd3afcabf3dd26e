"""What a request to the API server is about, in the words of its audit log."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

MUTATING: Final = frozenset({"create", "update", "patch", "delete", "deletecollection"})
OF_OBJECT: Final = {"GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "POST": "create"}
OF_COLLECTION: Final = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
EVENT: Final = "event"
"""Verb of one event of a watch, on its way to the caller; bookmarks are none."""
OF_NAMESPACE_ITSELF: Final = frozenset({"status", "finalize"})
"""Subresources of a namespace; any other word there is a kind that lives in it."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Fields are empty where the request has none."""

    verb: str
    """get, list, watch, create, update, patch, delete, deletecollection; `EVENT`; lower-case method for other paths."""
    resource: str = ""
    """Plural, with the subresource: `pods`, `agentsessions/status`."""
    namespace: str = ""
    name: str = ""
    """Empty for a create: the name is in its body."""

    @property
    def is_mutating(self) -> bool:
        """Whether it changes anything."""
        return bool(self.resource) and self.verb in MUTATING

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}".rstrip()


def read_call(method: str, path: str, query: Mapping[str, str]) -> Call:
    """Return what a request is about."""
    words = path.strip("/").split("/")
    start = {"api": 2, "apis": 3}.get(words[0])
    rest = words[start:] if start else []
    if not rest:
        return Call(method.lower())
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in OF_NAMESPACE_ITSELF:  # noqa: PLR2004  # /namespaces/NAME/KIND
        namespace, rest = rest[1], rest[2:]
    kind, name, *subresource = [*rest, ""] if len(rest) == 1 else rest
    verb = (OF_OBJECT if name else OF_COLLECTION).get(method, method.lower())
    if method == "GET" and query.get("watch") in {"1", "true"}:
        verb = "watch"
    return Call(verb, "/".join([kind, *subresource]), namespace, name)


def read_event(watch: Call, event: Mapping[str, Any]) -> Call | None:
    """Return what an event of a watch is about; None for a bookmark or an error."""
    if event.get("type") not in {"ADDED", "MODIFIED", "DELETED"}:
        return None
    meta = event["object"]["metadata"]
    return Call(EVENT, watch.resource, meta.get("namespace", ""), meta["name"])
