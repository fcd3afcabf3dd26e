"""No field that a user can set reaches what contains an agent.

Goes through every field of AgentSession's spec, as its model has them now: each is given two values, and the two pods
may differ in the places that are listed for it, and nowhere else. A field that is new, and reaches the pod, fails here
until somebody has thought about it.
"""

import copy
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.children.pod import build_pod
from agentsessions.children.settings import PodSettings
from agentsessions.lifecycle.effective import resolve
from tests.unit.children.sessions import a_view

pytestmark = pytest.mark.requirement("ID-5")

SETTINGS = PodSettings("https://gateway.system.svc", "runner:1", gateway_addresses=("10.96.7.7",))
SCHEMA = SessionSpec.model_json_schema(by_alias=True)
ENV, VOLUME = "spec.containers[].env[]", "spec.volumes[]"
SITE = "metadata.labels.agentsessions.dev/site"
REQUIRED, PREFERRED = (f"{word}DuringSchedulingIgnoredDuringExecution[]" for word in ("required", "preferred"))
NEAR_TERM = f"spec.affinity.podAffinity.{PREFERRED}.podAffinityTerm"
TERM = {
    f"spec.affinity.{kind}.{where}.{part}"
    for kind in ("podAffinity", "podAntiAffinity")
    for where in (REQUIRED, f"{PREFERRED}.podAffinityTerm")
    for part in (
        "topologyKey",
        "labelSelector.matchLabels.app.kubernetes.io/managed-by",
        "labelSelector.matchLabels.agentsessions.dev/label-cpu-68ab84f7",
        "labelSelector.matchExpressions[].key",
        "labelSelector.matchExpressions[].operator",
        "labelSelector.matchExpressions[].values[]",
    )
} | {f"spec.affinity.{kind}.{PREFERRED}.weight" for kind in ("podAffinity", "podAntiAffinity")}
"""One wish about other sessions: no namespaces, no other selector."""
REACHES = {
    "agents[].name": {
        "metadata.name",
        "metadata.labels.agentsessions.dev/agent",
        f"{ENV}.value",
        f"{VOLUME}.persistentVolumeClaim.claimName",
    },
    "agents[].image": {"spec.containers[].image"},
    "agents[].env[].name": {f"{ENV}.name"},
    "agents[].env[].value": {f"{ENV}.value"},
    "agents[].resources.requests{}": {"spec.containers[].resources.requests.cpu"},
    "agents[].resources.limits{}": {"spec.containers[].resources.limits.cpu"},
    "context.files[].path": {f"{VOLUME}.configMap.items[].path"},
    "workspace.storageClassName": {SITE, f"{VOLUME}.persistentVolumeClaim.claimName"},
    "placement.nodeSelector{}": {SITE, "spec.nodeSelector.cpu"},
    "placement.tolerations[].key": {SITE, "spec.tolerations[].key"},
    "placement.tolerations[].operator": {SITE, "spec.tolerations[].operator"},
    "placement.tolerations[].value": {SITE, "spec.tolerations[].value"},
    "placement.tolerations[].effect": {SITE, "spec.tolerations[].effect"},
    "placement.tolerations[].tolerationSeconds": {SITE, "spec.tolerations[].tolerationSeconds"},
    "placement.sessionAffinity[].selector.matchLabels{}": {
        SITE,
        f"{NEAR_TERM}.labelSelector.matchLabels.agentsessions.dev/label-cpu-68ab84f7",
    },
    "placement.sessionAffinity[].nearness": {SITE, *TERM},
    "placement.sessionAffinity[].strictness": {SITE, *TERM},
    "placement.sessionAffinity[].topologyKey": {SITE, f"{NEAR_TERM}.topologyKey"},
    "dataSources[].name": {f"{VOLUME}.configMap.items[].path"},
    "dataSources[].format": {f"{VOLUME}.configMap.items[].path"},
}
"""Where in the pod the value of a field may stand."""
APPEARS = {
    "agents[].image": {"spec.containers[].command[]", f"{ENV}.name", f"{ENV}.value"},
    "agents[].env": {f"{ENV}.name", f"{ENV}.value"},
    "agents[].resources": {"spec.containers[].resources."},
    "agents": {"metadata.", "spec.containers[].", VOLUME},
    "context": {f"{VOLUME}.", "spec.containers[].volumeMounts[]."},
    "dataSources": {f"{VOLUME}.", "spec.containers[].volumeMounts[]."},
    "placement": {SITE, "spec.nodeSelector.", "spec.tolerations[].", "spec.affinity."},
    "workspace": {SITE, f"{VOLUME}.emptyDir.sizeLimit", f"{VOLUME}.persistentVolumeClaim.claimName"},
}
"""What comes and goes when a field is there or not, beginning so."""
HELD = re.compile(
    r"spec\.(containers\[\]\.)?securityContext|spec\.host|spec\.serviceAccount|spec\.automount|privileged|hostPath"
    r"|spec\.shareProcess|spec\.runtimeClass|spec\.initContainers|spec\.ephemeralContainers|spec\.nodeName"
    r"|\.ports\[\]|mountPropagation|subPath|spec\.dns"
)
"""What contains the agent: it is the same in each pod."""
EXAMPLES = (
    "alpha", "beta", "../../etc/shadow", "/var/run/docker.sock", "1Gi", "2Gi", "GET", "POST", "a.example", "b.example",
    "https://a.example/x", "https://b.example/x", "2026-11-21T12:00:00Z", "2026-11-22T12:00:00Z",
)  # fmt: skip
"""Values to choose from, by what a field takes."""
WHOLE = 9


def schema_of(node: dict[str, Any]) -> dict[str, Any]:
    """Return what a node stands for: without references, and without the choice of being absent."""
    while True:
        if "$ref" in node:
            node = SCHEMA["$defs"][node["$ref"].rpartition("/")[2]]
        elif "anyOf" in node:
            node = next(one for one in node["anyOf"] if one.get("type") != "null")
        elif "allOf" in node:
            node = node["allOf"][0]
        else:
            return node


def examples(node: dict[str, Any]) -> tuple[Any, Any]:
    """Return two values that a leaf takes."""
    if "const" in node:
        return node["const"], node["const"]
    if "enum" in node:
        return node["enum"][0], node["enum"][-1]
    if node.get("x-kubernetes-int-or-string"):
        return "1", "2"
    low = node.get("minimum", 1)
    match node.get("type"):
        case "string":
            fits = [e for e in EXAMPLES if re.search(node.get("pattern", ""), e) and len(e) >= node.get("minLength", 0)]
            assert len(fits) > 1, f"no two examples fit {node}: add some to EXAMPLES"
            return fits[0], fits[1]
        case "boolean":
            return True, False
    return (low, low + 1) if node.get("type") in {"integer", "number"} else ({"any": "thing"}, {"other": ["thing"]})


def fields(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each leaf below a node, with its path."""
    node = schema_of(node)
    if "properties" in node:
        for name, child in node["properties"].items():
            yield from fields(child, f"{path}.{name}" if path else name)
    elif node.get("type") == "array":
        yield from fields(node["items"], f"{path}[]")
    elif isinstance(node.get("additionalProperties"), dict):
        yield from fields(node["additionalProperties"], f"{path}{{}}")
    else:
        yield path, node


def filled(node: dict[str, Any]) -> Any:
    """Return a value with every field set."""
    node = schema_of(node)
    if "properties" in node:
        return {name: filled(child) for name, child in node["properties"].items()}
    if node.get("type") == "array":
        return [filled(node["items"])]
    if isinstance(node.get("additionalProperties"), dict):
        return {"cpu": filled(node["additionalProperties"])}
    return examples(node)[0]


def put(spec: Any, path: str, value: Any) -> None:
    """Set a leaf of a spec."""
    *parents, last = re.findall(r"[^.\[\]{}]+|\[\]|\{\}", path)
    node = spec
    for part in parents:
        node = node[0] if part == "[]" else node["cpu"] if part == "{}" else node[part]
    node[0 if last == "[]" else "cpu" if last == "{}" else last] = value


def pod_of(spec: dict[str, Any]) -> Counter[tuple[str, str]]:
    """Return all values of the pod of a session, with their places."""
    view = a_view(**spec)
    return Counter(flat(build_pod(view, resolve(view.spec).agents[0], 1, SETTINGS), ""))


def flat(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for inner in value:
            yield from flat(inner, f"{path}[]")
    else:
        yield path, repr(value)


def places(one: Counter[tuple[str, str]], other: Counter[tuple[str, str]]) -> set[str]:
    """Return where two pods differ."""
    return {path for path, _ in (one - other) + (other - one)}


FULL = filled(SCHEMA)
LEAVES = dict(fields(SCHEMA, ""))


def test_every_field_is_looked_at() -> None:
    assert len(LEAVES) > 4 * WHOLE
    assert REACHES.keys() <= LEAVES.keys(), "a field that is gone is taken off the list"


@pytest.mark.parametrize("path", LEAVES)
def test_a_field_reaches_the_pod_only_where_it_is_listed(path: str) -> None:
    values = examples(LEAVES[path])
    pods = []
    for value in values:
        spec = copy.deepcopy(FULL)
        put(spec, path, value)
        pods.append(pod_of(spec))

    assert places(*pods) <= REACHES.get(path, set())


@pytest.mark.parametrize("name", sorted(SCHEMA["properties"].keys() - {"goal"}))  # which each of these sessions has
def test_a_field_that_is_not_set_changes_nothing_else(name: str) -> None:
    without = {key: value for key, value in FULL.items() if key != name}
    begins = tuple(place for field, all_ in APPEARS.items() if field.split("[")[0] == name for place in all_)

    assert all(place.startswith(begins) for place in places(pod_of(FULL), pod_of(without)))


def test_what_contains_an_agent_is_the_same_in_every_pod() -> None:
    plain, full = pod_of({}), pod_of(FULL)

    def held(pod: Counter[tuple[str, str]]) -> list[tuple[str, str]]:
        return sorted(entry for entry in pod if HELD.search(entry[0]))

    assert held(plain) == held(full)
    assert len(held(plain)) > WHOLE
    allowed = {place for known in (REACHES, APPEARS) for all_ in known.values() for place in all_}
    assert not [place for place in allowed if HELD.search(place)]


def test_volumes_are_of_the_same_few_kinds_whatever_is_set() -> None:
    view = a_view(**FULL)
    pod = build_pod(view, resolve(view.spec).agents[0], 1, SETTINGS)
    kinds = {kind for volume in pod["spec"]["volumes"] for kind in volume.keys() - {"name"}}
    assert kinds <= {"emptyDir", "persistentVolumeClaim", "projected", "configMap"}
    (source,) = next(v["projected"]["sources"] for v in pod["spec"]["volumes"] if "projected" in v)
    assert source.keys() == {"serviceAccountToken"}
