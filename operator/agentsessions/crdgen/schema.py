"""Turn the JSON schema of a pydantic model into the structural schema that a CRD takes.

A structural schema has no references, no titles, and one type for each value. An absent field and a null one are the
same to us, so a union with null is written as an optional field.
Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

Json = dict[str, Any]

KEYWORDS: Final = (
    "description",
    "type",
    "format",
    "default",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "items",
    "additionalProperties",
    "properties",
    "anyOf",
)
"""What a structural schema may say, in the order in which it is written."""

DROPPED: Final = frozenset({"title", "$defs", "$ref"})
INT_OR_STRING: Final = "x-kubernetes-int-or-string"
PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"


class SchemaError(ValueError):
    """A model says something that a CRD cannot."""


def build_schema(model: type[BaseModel]) -> Json:
    """Return the structural schema of `model`, with every default that the model has."""
    raw = model.model_json_schema(by_alias=True)
    return _structural(raw, raw.get("$defs", {}), model.__name__)


def _structural(raw: Mapping[str, Any], defs: Mapping[str, Json], path: str) -> Json:
    node = _plain(_resolved(raw, defs, path))
    unknown = sorted(k for k in node if k not in KEYWORDS and not k.startswith("x-kubernetes-"))
    if unknown:
        raise SchemaError(f"{path}: {', '.join(unknown)} cannot be said in a CRD; allowed: {', '.join(KEYWORDS)}")
    if "properties" in node:
        node["properties"] = {k: _structural(v, defs, f"{path}.{k}") for k, v in node["properties"].items()}
    if "items" in node:
        node["items"] = _structural(node["items"], defs, f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _structural(node["additionalProperties"], defs, f"{path}{{}}")
    return _ordered(node)


def _resolved(raw: Mapping[str, Any], defs: Mapping[str, Json], path: str) -> Json:
    """Follow references and drop the null of a union; what stands next to them wins over what they name."""
    node = {k: v for k, v in raw.items() if k not in DROPPED}
    if "$ref" in raw:
        node = _resolved(defs[raw["$ref"].rsplit("/", 1)[-1]], defs, path) | node
    if "anyOf" in node:
        choices = [c for c in node.pop("anyOf") if c.get("type") != "null"]
        if len(choices) != 1:
            raise SchemaError(f"{path}: a union of {len(choices)} types; a CRD takes one type, or that type and None")
        node = _resolved(choices[0], defs, path) | node
    return node


def _plain(node: Json) -> Json:
    """Say in the API server's words what pydantic says in JSON schema's."""
    if node.get("default", ...) is None:
        del node["default"]
    if isinstance(node.get("additionalProperties"), bool):
        del node["additionalProperties"]  # unknown fields are pruned or refused by the API server, not by the schema
    if "const" in node:
        node["enum"] = [node.pop("const")]
    if "description" in node:
        node["description"] = " ".join(node["description"].split())
    if node.get(INT_OR_STRING):
        node.pop("type")
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    match node.get("type"):
        case "integer":
            node.setdefault("format", "int64")
        case "number":
            node.setdefault("format", "double")
    return node


def _ordered(node: Json) -> Json:
    extensions = sorted(k for k in node if k not in KEYWORDS)
    return {k: node[k] for k in (*KEYWORDS, *extensions) if k in node}
