"""A session's spec over its template's. Pure: the same spec and the same revision give the same session everywhere.

What the template sets and does not let sessions override is the template's, whatever the spec says later: most fields
of a spec cannot change, but limits can, and a session was accepted with the template's.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentsessions.api.names import DEFAULT_AGENT
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.template import FREE_FIELDS, AgentSessionTemplateSpec
from agentsessions.lifecycle.facts import SessionView

Json = dict[str, Any]


def find_not_allowed(spec: SessionSpec, template: AgentSessionTemplateSpec) -> tuple[str, ...]:
    """Return the fields that both set, and the template does not let sessions override."""
    free = FREE_FIELDS | set(template.overridable or ())
    return tuple(field for field in template.session.to_json() if field in spec.to_json() and field not in free)


def merge(spec: SessionSpec, template: AgentSessionTemplateSpec) -> SessionSpec:
    """Return what a session means: its spec over its template's, as far as the template lets it.

    Raises:
        ValidationError: The two together are no spec, such as more agents than a session may have.
    """
    own, held = spec.to_json(), set(find_not_allowed(spec, template))
    merged: Json = {**own}
    for field, value in template.session.to_json().items():
        merged[field] = value if field not in own or field in held else _over(field, own[field], value)
    if template.env:
        env = [variable.to_json() for variable in template.env]
        merged["agents"] = [
            {**agent, "env": _by_name(agent.get("env") or [], env)}
            for agent in merged.get("agents") or [{"name": DEFAULT_AGENT}]
        ]
    return SessionSpec.model_validate(merged)


def merge_view(session: SessionView, template: AgentSessionTemplateSpec) -> SessionView:
    """Return a session with its spec as it means it.

    Raises:
        ValidationError: As `merge` does.
    """
    return replace(session, spec=merge(session.spec, template))


def _over(field: str, own: Any, base: Any) -> Any:
    """Return a field of a session over that of its template."""
    match field:
        case "context" | "dataSources":
            return own  # whole: their parts exclude each other, or belong together
        case "agents":
            return _by_name(own, base)
    return _deep(own, base) if isinstance(own, Mapping) else own


def _deep(own: Any, base: Any) -> Any:
    if not (isinstance(own, Mapping) and isinstance(base, Mapping)):
        return own
    return {**base, **{name: _deep(value, base.get(name)) for name, value in own.items()}}


def _by_name(own: list[Json], base: list[Json]) -> list[Json]:
    """Return the items of both, those of one name made one; the template's come first, in its order."""
    mine = {item["name"]: item for item in own}
    theirs = [_item(mine.pop(item["name"], {}), item) for item in base]
    return theirs + [item for item in own if item["name"] in mine]


def _item(own: Json, base: Json) -> Json:
    if "env" in own and "env" in base:
        own = {**own, "env": _by_name(own["env"], base["env"])}
    return {**base, **{name: _deep(value, base.get(name)) for name, value in own.items()}}
