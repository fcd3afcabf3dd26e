"""Write docs/reference.md from the CRDs: `python hack/docs/reference.py [--check]`."""

import sys
from collections.abc import Iterator
from typing import Any, Final

from agentsessions.crdgen.crds import KINDS, build_crd
from hack.generated import REPAIR, ROOT, write_or_check

TARGET: Final = ROOT / "docs" / "reference.md"
Json = dict[str, Any]

INTRODUCTION: Final = f"""\
# Reference of the resources

<!-- generated from operator/agentsessions/api/v1alpha1 by `{REPAIR}`; do not edit -->

Every field of `agentsessions.dev/v1alpha1`. `kubectl explain agentsession.spec` says the same. A field marked
**required** has no default; *fixed* ones cannot change after creation.
"""

BOUNDS: Final = (
    ("minLength", "maxLength", "characters"),
    ("minimum", "maximum", ""),
    ("minItems", "maxItems", "items"),
    ("minProperties", "maxProperties", "entries"),
)


def render() -> str:
    """Return the page."""
    parts = [INTRODUCTION]
    for kind in KINDS:
        crd = build_crd(kind)
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        parts.append(f"\n## {kind.name}\n\n{schema['description']}\n\n{_facts(crd)}")
        for top in [part for part in ("spec", "status") if part in schema["properties"]]:
            parts += _tables(schema["properties"][top], top)
    return "\n".join(parts)


def _facts(crd: Json) -> str:
    names, version = crd["spec"]["names"], crd["spec"]["versions"][0]
    selectable = ", ".join(f"`{field['jsonPath'][1:]}`" for field in version.get("selectableFields", ()))
    words = [f"`{names['plural']}`", *(f"`{name}`" for name in names["shortNames"])]
    lines = [f"`kubectl get` {' or '.join(words)}."]
    if names.get("categories"):
        lines.append(f"Category: {', '.join(f'`{name}`' for name in names['categories'])}.")
    if selectable:
        lines.append(f"Field selectors: {selectable}.")
    return " ".join(lines) + "\n"


def _tables(node: Json, path: str) -> Iterator[str]:
    """Yield a table for an object, and one for each object in it, depth first."""
    fields = node["properties"]
    fixed = _fixed_fields(node)
    required = set(node.get("required", ()))
    rows = [
        f"| `{name}` | {_type(child)} | {_notes(child, is_required=name in required, is_fixed=name in fixed)} |"
        for name, child in fields.items()
    ]
    yield f"### {path}\n\n{node['description']}\n\n| field | type | |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    if rules := [rule["message"] for rule in _rules(node) if "fieldPath" not in rule]:
        yield "\n".join(f"- {message}" for message in rules) + "\n"
    for name, child in fields.items():
        inner = child.get("items", child)
        if "properties" in inner:
            suffix = "[]" if "items" in child else ""
            yield from _tables({**inner, "description": child["description"]}, f"{path}.{name}{suffix}")


def _rules(node: Json) -> list[Json]:
    rules: list[Json] = node.get("x-kubernetes-validations", [])
    return rules


def _fixed_fields(node: Json) -> set[str]:
    return {rule["fieldPath"][1:] for rule in _rules(node) if "cannot change" in rule["message"]}


def _type(node: Json) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    match node.get("type"):
        case "array":
            return f"list of {_type(node['items'])}"
        case "object" if "additionalProperties" in node:
            return f"map to {_type(node['additionalProperties'])}"
        case "string" if node.get("format") == "date-time":
            return "time"
        case other:
            return str(other)


def _notes(node: Json, *, is_required: bool, is_fixed: bool) -> str:
    notes = [node["description"].replace("|", "\\|")]
    if is_required:
        notes.append("**Required.**")
    if "enum" in node:
        notes.append(f"One of {', '.join(f'`{word}`' for word in node['enum'])}.")
    if "default" in node:
        notes.append(f"Default `{node['default']}`.")
    notes += filter(None, (_bound(node, *bound) for bound in BOUNDS))
    notes += [
        f"{rule['message'][:1].upper()}{rule['message'][1:]}." for rule in _rules(node) if "properties" not in node
    ]
    if is_fixed:
        notes.append("*Fixed.*")
    return " ".join(notes)


def _bound(node: Json, low: str, high: str, unit: str) -> str:
    lowest, highest = node.get(low), node.get(high)
    if highest is None and lowest is None:
        return ""
    if highest is None:
        return f"At least {lowest:,} {unit}".rstrip() + "."
    if lowest == highest:
        return f"Exactly {highest:,}."
    if not lowest and unit:
        return f"At most {highest:,} {unit}."
    return f"{lowest or 0:,} to {highest:,} {unit}".rstrip() + "."


if __name__ == "__main__":
    sys.exit(write_or_check({TARGET: render()}, "the models"))
