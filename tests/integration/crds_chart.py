"""What the Helm chart renders."""

import subprocess

import yaml

from tests.integration.crds_cluster import CLUSTER, ROOT, Manifest


def chart_objects(namespace: str) -> list[Manifest]:
    """Return the objects of the chart for an install namespace."""
    helm = subprocess.run([*CLUSTER, "tool", "helm"], text=True, capture_output=True, check=True).stdout.strip()
    command = [helm, "template", "x", str(ROOT / "helm/agentsessions"), "-n", namespace, "--kube-version", "1.34.0"]
    text = subprocess.run(command, text=True, capture_output=True, check=True).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def private_policies(namespace: str) -> Manifest:
    """Return the chart's admission policies, under names of the test's and for one namespace alone."""
    found = [thing for thing in chart_objects(namespace) if thing["kind"].startswith("ValidatingAdmissionPolicy")]
    return {"apiVersion": "v1", "kind": "List", "items": [_to_private(policy, namespace) for policy in found]}


def _to_private(policy: Manifest, namespace: str) -> Manifest:
    spec = policy["spec"]
    if policy["kind"] == "ValidatingAdmissionPolicyBinding":
        selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        spec = spec | {
            "policyName": f"{namespace}-{spec['policyName']}",
            "matchResources": {"namespaceSelector": selector},
        }
    return policy | {"metadata": {"name": f"{namespace}-{policy['metadata']['name']}"}, "spec": spec}
