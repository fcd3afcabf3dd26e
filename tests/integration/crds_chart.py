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
