"""Hold every manifest against the schemas of Kubernetes and of our CRDs: `python hack/verify/conform.py`.

Schemas of Kubernetes come from its own module, of the version that hack/cluster builds; nothing else is downloaded.
Unknown fields are errors. What only an API server can judge (CEL, policies) is in tests/integration.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from programs import HELM_OPTIONS, ROOT, cluster, helm, run

KUBERNETES: Final = "k8s.io/kubernetes@v1.34.4"
DEFINITIONS: Final = "definitions.json"
LOCATION: Final = "{{ .ResourceKind }}-{{ .Group }}-{{ .ResourceAPIVersion }}.json"
SKIPPED: Final = "CustomResourceDefinition,Kustomization,PrometheusRule"
"""The schema of a CRD contains itself, and an API server judges it better; kustomize judges its own files; alert rules
are of a kind that is not Kubernetes', and tests/unit/monitoring judges them."""
Json = dict[str, Any]


def main() -> int:
    """Run kubeconform over everything; return its exit code."""
    chart = ("template", "agentsessions", "helm/agentsessions", *HELM_OPTIONS)
    two = (
        "operator.replicas=2,gateway.replicas=2,gateway.journal.urlSecretRef.name=u,gateway.journal.caSecretRef.name=c"
    )
    rendered = helm(*chart) + helm(*chart, "--set", f"{two},gateway.tracing.endpoint=http://c")
    for value in ("gateway.replicas=2", "gateway.journal.caSecretRef.name=ca"):
        check_refusal(cluster("tool", "helm"), *chart, "--set", value)
    files = [str(path) for path in sorted((ROOT / "manifests").rglob("*.yaml"))]
    with tempfile.TemporaryDirectory() as folder:
        write_schemas(Path(folder))
        command = [cluster("tool", "kubeconform"), "-strict", "-summary", "-skip", SKIPPED]
        command += ["-schema-location", f"{folder}/{LOCATION}"]
        results = [
            subprocess.run([*command, "-"], input=rendered, text=True, check=False),
            subprocess.run([*command, *files], check=False),
        ]
    return max(result.returncode for result in results)


def check_refusal(*words: str) -> None:
    """End this program unless the chart refuses what takes a database for a SQLite file, and says what to do."""
    done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode == 0 or "gateway.journal.urlSecretRef" not in done.stderr:
        sys.exit(f"{' '.join(words)} must fail and name gateway.journal.urlSecretRef; it printed:\n{done.stderr}")


def write_schemas(folder: Path) -> None:
    """Write one schema for each kind, named as `LOCATION` says."""
    definitions = kubernetes_definitions()
    (folder / DEFINITIONS).write_text(json.dumps({"definitions": definitions}))
    kinds = dict(our_schemas())
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", ()):
            kinds[kind["group"], kind["version"], kind["kind"]] = {"$ref": f"{DEFINITIONS}#/definitions/{name}"}
    for (group, version, kind), schema in kinds.items():
        # kubeconform takes the version for the group of what has none.
        (folder / f"{kind.lower()}-{group or version}-{version}.json").write_text(json.dumps(schema))


def kubernetes_definitions() -> dict[str, Json]:
    """Return the schemas of all types of Kubernetes, by name."""
    module = json.loads(run("go", "mod", "download", "-json", KUBERNETES))
    definitions = json.loads(Path(module["Dir"], "api/openapi-spec/swagger.json").read_text())["definitions"]
    return {name: _closed(definition) for name, definition in definitions.items()}


def our_schemas() -> Iterator[tuple[tuple[str, str, str], Json]]:
    """Yield the schema of each kind of ours, from its CRD."""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            yield (spec["group"], version["name"], spec["names"]["kind"]), schema


def _closed(schema: Json) -> Json:
    """Return a schema whose objects have no unknown fields; numbers pass where Kubernetes takes number or string."""
    closed = dict(schema)
    for below in ("items", "additionalProperties"):
        if isinstance(closed.get(below), dict):
            closed[below] = _closed(closed[below])
    if "properties" in closed:
        closed["properties"] = {name: _closed(child) for name, child in closed["properties"].items()}
        if "x-kubernetes-preserve-unknown-fields" not in closed:
            closed.setdefault("additionalProperties", False)
    if closed.get("format") == "int-or-string" or closed.get("description", "").startswith("Quantity is a fixed-point"):
        closed = {"type": ["string", "number"]}
    return closed


if __name__ == "__main__":
    sys.exit(main())
