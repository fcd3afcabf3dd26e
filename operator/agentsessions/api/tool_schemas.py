"""What of a stranger's tool may be shown to a model, under which name, and how a change of it is seen. Pure."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

MAX_SCHEMA_BYTES: Final = 32_768
MAX_SCHEMA_DEPTH: Final = 32
MAX_SCHEMA_NODES: Final = 2_000
"""With references followed: so many may have to be looked at for each value of the arguments."""
MAX_OFFER_NAME: Final = 64
"""What model providers take."""
SEPARATOR: Final = "__"
"""Between server and tool. No server's name has an underscore, so it can be found again."""
REF: Final = "$ref"
REFUSED_WORDS: Final = frozenset(
    {"$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor", "$id", "patternProperties"}
)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]+")


def offer_name(server: str, tool: str) -> str:
    """Return the name under which a model sees a server's tool: no two tools of any servers share one."""
    name = f"{server}{SEPARATOR}{tool}"
    if _PLAIN.fullmatch(name) and len(name) <= MAX_OFFER_NAME:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    # The mark is joined by a dash, so that no unchanged name of another tool of this length can be equal by intent.
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)[: MAX_OFFER_NAME - 9]}-{mark}"


def digest_of_tool(description: str, parameters: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of all that a model is told about a tool."""
    text = json.dumps([description, parameters], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def why_unusable(parameters: Mapping[str, Any]) -> str | None:
    """Return why arguments cannot be checked against a schema in bounded time; None when they can."""
    try:
        size = len(json.dumps(parameters))
    except (TypeError, ValueError, RecursionError):
        return "its schema is not JSON, or nested too deeply"
    if size > MAX_SCHEMA_BYTES:
        return f"its schema has {size} bytes; {MAX_SCHEMA_BYTES} are allowed"
    if parameters.get("type") != "object":
        return "its schema is not that of an object"
    try:
        nodes = _Counter(parameters).count(parameters, 0)
    except _UnusableError as error:
        return str(error)
    return None if nodes <= MAX_SCHEMA_NODES else f"its schema stands for more than {MAX_SCHEMA_NODES} parts"


class _UnusableError(Exception):
    """A schema that is not taken."""


class _Counter:
    """Counts the parts of a schema with its references followed."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[str, int] = {}
        self._following: set[str] = set()

    def count(self, node: Any, depth: int) -> int:
        """Return how many parts a node stands for."""
        if depth > MAX_SCHEMA_DEPTH:
            raise _UnusableError(f"its schema is nested more than {MAX_SCHEMA_DEPTH} levels deep")
        if isinstance(node, list):
            return 1 + sum(self.count(one, depth + 1) for one in node)
        if not isinstance(node, dict):
            return 1
        if words := REFUSED_WORDS & node.keys():
            raise _UnusableError(f"its schema uses {', '.join(sorted(words))}, which is not supported")
        total = 1 + sum(self.count(value, depth + 1) for key, value in node.items() if key != "$defs")
        reference = node.get(REF)
        return total if reference is None else total + self._follow(reference, depth)

    def _follow(self, reference: object, depth: int) -> int:
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise _UnusableError(f"its schema refers to {str(reference)[:100]!r}; it may refer to its own parts alone")
        if reference in self._following:
            raise _UnusableError("its schema refers to itself, which is not supported")
        if reference not in self._known:
            self._following.add(reference)
            self._known[reference] = self.count(self._find(reference), depth + 1)
            self._following.discard(reference)
        return self._known[reference]

    def _find(self, reference: str) -> Any:
        node: Any = self._root
        for part in _parts(reference):
            if not isinstance(node, dict) or part not in node:
                raise _UnusableError(f"its schema refers to {reference[:100]!r}, which it does not have")
            node = node[part]
        return node


def _parts(reference: str) -> Iterator[str]:
    return (part.replace("~1", "/").replace("~0", "~") for part in reference.removeprefix("#/").split("/"))
