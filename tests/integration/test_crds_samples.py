"""What ships as YAML, on a real API server (dry run): the plain manifests, the overlay, and every sample."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.crds_cluster import ROOT, Kubectl, fresh_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

SAMPLES = sorted((ROOT / "manifests" / "samples").rglob("*.yaml"))
FOLDERS = [path.parent for path in SAMPLES if path.name == "kustomization.yaml"]
FILES = [path for path in SAMPLES if path.parent not in FOLDERS]
SYSTEM = "agentsessions-system"


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-samples") as kubectl:
        if kubectl.run("create", "namespace", SYSTEM).returncode == 0:
            yield kubectl
            kubectl("delete", "namespace", SYSTEM, "--wait=false")
        else:
            yield kubectl


def apply_dry(kubectl: Kubectl, *words: str) -> str:
    """Apply on the server, and keep nothing."""
    return kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", *words)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_sample_is_accepted(kubectl: Kubectl, path: Path) -> None:
    namespace = SYSTEM if SYSTEM in path.read_text() else kubectl.namespace
    apply_dry(replace(kubectl, namespace=namespace), "--filename", str(path))


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_sample_folder_is_accepted(kubectl: Kubectl, path: Path) -> None:
    apply_dry(kubectl, "--kustomize", str(path))


@pytest.mark.requirement("OPS-7")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("-f", "manifests/install.yaml", "-f", "manifests/default-provider.yaml"), id="plain manifests"),
        pytest.param(("-k", "manifests/overlays/own-image"), id="kustomize"),
    ],
)
def test_installation_is_accepted(kubectl: Kubectl, words: tuple[str, ...]) -> None:
    flags = [word if word.startswith("-") else str(ROOT / word) for word in words]
    # The namespace of these is their own; kubectl refuses another one on its command line.
    own = replace(kubectl, namespace=SYSTEM)
    assert "deployment.apps/agentsessions-operator serverside-applied (server dry run)" in apply_dry(own, *flags)


def test_operator_and_agents_run_one_image(kubectl: Kubectl) -> None:
    text = kubectl("kustomize", str(ROOT / "manifests/overlays/own-image"))
    lines = [line.strip() for line in text.splitlines()]
    assert lines.count("image: registry.example.com/agentsessions:0.1.0") == 2
    assert "value: registry.example.com/agentsessions:0.1.0" in lines
    assert "ghcr.io" not in text
