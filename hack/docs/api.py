"""Write docs/openapi.json and docs/api.md from the gateway's routes: `python hack/docs/api.py [--check]`."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentsessions.gateway.app import create_api
from agentsessions.gateway.openapi import operations
from agentsessions.gateway.problem_codes import FAULTS, PROBLEMS, REFUSALS, Kind
from hack.generated import REPAIR, ROOT, write_or_check

DOCS: Final = ROOT / "docs"
REF: Final = "#/components/schemas/"
EVERYWHERE: Final = frozenset({"namespace", "x-namespace"})
"""Parameters that the introduction explains."""
CHOICES: Final = ("anyOf", "oneOf", "allOf")
Json = dict[str, Any]

INTRODUCTION: Final = f"""\
# The API

<!-- generated from operator/agentsessions/gateway by `{REPAIR}`; do not edit -->

What the gateway answers. [openapi.json](openapi.json) is the same for programs; a running gateway serves it at
`/api/v1/openapi.json`. [http.md](http.md) has a command for each thing that one does.

- Every request carries `Authorization: Bearer <token>`, with any token that the Kubernetes API server accepts.
- The namespace is the query `namespace` or the header `X-Namespace`; without, it is `default`.
- Bodies are JSON in UTF-8, camelCase. Times are RFC 3339 in UTC. What is absent is left out, not null.
- `{{session}}` is a uid, or a name: the newest session of that name.
- A refusal is `application/problem+json` (RFC 9457): `title`, `status`, `detail` (what failed, what was allowed, what
  to do) and `code`, on which programs branch: [Errors](#errors). With `Retry-After` it passes.
"""


def render(document: Json) -> str:
    """Return the page."""
    parts = [INTRODUCTION, _overview(document)]
    used: dict[str, None] = {}
    for path, method, operation in operations(document):
        parts.append(_operation(path, method, operation, used))
    parts.append("## Bodies\n")
    schemas = document["components"]["schemas"]
    parts += [_schema(name, schemas[name]) for name in _reachable(used, schemas)]
    parts += [
        "## Errors\n",
        _errors(PROBLEMS),
        "What pods are told besides:\n",
        _errors(REFUSALS),
        "And when a model call fails:\n",
        _errors(FAULTS),
    ]
    return "\n".join(parts)


def _errors(kinds: Mapping[Any, Kind]) -> str:
    rows = [f"| `{code}` | {kind.status} | {kind.meaning} | {kind.remedy} |" for code, kind in kinds.items()]
    return "| code | status | meaning | what to do |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def _overview(document: Json) -> str:
    rows = [
        f"| `{method.upper()} {path}` | {_first_sentence(operation)} |"
        for path, method, operation in operations(document)
    ]
    return "| request | what |\n|---|---|\n" + "\n".join(rows) + "\n"


def _first_sentence(operation: Json) -> str:
    text: str = operation["description"].split("\n\n", maxsplit=1)[0].replace("\n", " ")
    return text.replace("|", "\\|")


def _operation(path: str, method: str, operation: Json, used: dict[str, None]) -> str:
    lines = [f"## {method.upper()} {path}\n", operation["description"] + "\n"]
    if parameters := [one for one in operation.get("parameters", ()) if one["name"] not in EVERYWHERE]:
        lines.append("| parameter | in | type | |\n|---|---|---|---|")
        lines += [
            f"| `{one['name']}` | {one['in']} | {_type(one['schema'], used)} | {_notes(one, one['schema'])} |"
            for one in parameters
        ]
        lines.append("")
    if body := operation.get("requestBody"):
        lines.append(f"Body: {_contents(body['content'], used)}.\n")
        lines += _examples(body["content"])
    for status, response in operation["responses"].items():
        if status not in {"4XX", "5XX"}:
            content = _contents(response.get("content", {}), used)
            words = response["description"].removesuffix(".")
            words = "" if words == "Successful Response" else f": {words}"
            lines.append(f"- **{status}**{words}{f': {content}' if content else ''}.")
    return "\n".join(lines) + "\n"


def _examples(content: Json) -> list[str]:
    """Return a line for each example of a body."""
    found = content.get("application/json", {}).get("examples", {})
    shown = {name: json.dumps(one["value"], ensure_ascii=False) for name, one in found.items()}
    return [*(f"- {name}: `{body}`" for name, body in shown.items()), *([""] if shown else [])]


def _contents(content: Json, used: dict[str, None]) -> str:
    found = [
        f"{_type(one['schema'], used)}{'' if media.endswith('json') else f' as `{media}`'}"
        if one.get("schema")
        else f"`{media}`"
        for media, one in content.items()
    ]
    return " or ".join(found)


def _reachable(used: dict[str, None], schemas: Json) -> Iterator[str]:
    """Yield each body that is named by a request, an answer or another body, once, in the order it is met."""
    waiting, seen = list(used), set(used)
    while waiting:
        name = waiting.pop(0)
        yield name
        inner: dict[str, None] = {}
        for field in schemas[name].get("properties", {}).values():
            _type(field, inner)
        waiting[:0] = [one for one in inner if one not in seen]
        seen.update(inner)


def _schema(name: str, schema: Json) -> str:
    lines = [f"### {name}\n", schema.get("description", "").split("\n\n")[0].strip() + "\n"]
    if "enum" in schema:
        lines.append(f"One of {', '.join(f'`{word}`' for word in schema['enum'])}.\n")
    if fields := schema.get("properties"):
        required = set(schema.get("required", ()))
        lines.append("| field | type | |\n|---|---|---|")
        lines += [
            f"| `{field}` | {_type(node, {})} | {_notes({'required': field in required}, node)} |"
            for field, node in fields.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _type(node: Json, used: dict[str, None]) -> str:
    if "$ref" in node:
        name = node["$ref"].removeprefix(REF)
        used.setdefault(name)
        return f"[{name}](#{name.lower()})"
    if options := [one for choice in CHOICES for one in node.get(choice, ()) if one.get("type") != "null"]:
        return " or ".join(dict.fromkeys(_type(one, used) for one in options))
    kind = node.get("type", "any")
    if kind == "array":
        kind = f"list of {_type(node.get('items', {}), used)}"
    elif isinstance(node.get("additionalProperties"), dict):
        kind = f"map to {_type(node['additionalProperties'], used)}"
    elif node.get("format") == "date-time":
        kind = "time"
    return str(kind)


def _notes(owner: Json, node: Json) -> str:
    notes = [(owner.get("description") or node.get("description") or "").replace("\n", " ").replace("|", "\\|")]
    if owner.get("required"):
        notes.append("**Required.**")
    if node.get("default") is not None:
        notes.append(f"Default `{json.dumps(node['default'])}`.".replace('`"', "`").replace('"`', "`"))
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        notes.append(f"{low:,} to {high:,}.")
    return " ".join(filter(None, notes))


def main() -> int:
    """Write the two files, or check them."""
    document = create_api().openapi()
    described = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    return write_or_check({DOCS / "openapi.json": described, DOCS / "api.md": render(document)}, "the routes")


if __name__ == "__main__":
    sys.exit(main())
