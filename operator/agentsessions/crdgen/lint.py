"""Lint of the API: every field is described and bounded.

Bounds are what lets the API server estimate the cost of a CEL rule, and what keeps an object far below etcd's limit.
"""

from collections.abc import Iterator

from agentsessions.crdgen.schema import INT_OR_STRING, PRESERVE, Json


def lint(schema: Json, path: str) -> list[str]:
    """Return what is wrong with `schema` and everything below it, each with the path of the field."""
    return [f"{where}: {what}" for where, what in _problems(schema, path)]


def _problems(node: Json, path: str, *, is_field: bool = True) -> Iterator[tuple[str, str]]:
    if is_field and not node.get("description"):
        yield path, "has no description; write a string under the field"
    if missing := _missing_bound(node):
        yield path, f"has no {missing}; bound it with Field"
    for name, child in node.get("properties", {}).items():
        yield from _problems(child, f"{path}.{name}")
    if "items" in node:
        yield from _problems(node["items"], f"{path}[]", is_field=False)
    if "additionalProperties" in node:
        yield from _problems(node["additionalProperties"], f"{path}{{}}", is_field=False)


def _missing_bound(node: Json) -> str | None:
    """Return the keyword that would bound the value, when nothing does."""
    wanted = _bounds(node)
    return None if not wanted or any(k in node for k in wanted) else wanted[0]


def _bounds(node: Json) -> tuple[str, ...]:
    if node.get(INT_OR_STRING):
        return ("maxLength",)
    match node.get("type"):
        case "string":
            return () if node.get("format") == "date-time" else ("maxLength", "enum")
        case "array":
            return ("maxItems",)
        case "object":
            return ("maxProperties", PRESERVE) if "properties" not in node else ()
        case "integer":
            return () if node.get("format") == "int64" else ("maximum", "enum")
        case _:
            return ()
