"""Put the product, as built from this checkout, into the cluster."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from shell import Kubectl, StageFailed, run, stage

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = [sys.executable, str(ROOT / "hack" / "cluster")]
MANIFEST = ROOT / "manifests" / "install.yaml"
DEFAULT_PROVIDER = ROOT / "manifests" / "default-provider.yaml"
RELEASED_IMAGE = "ghcr.io/agentsessions/agentsessions:0.1.0"
ALLOWED_NETWORKS = re.compile(r'(name: AGENTSESSIONS_ALLOWED_(?:PROVIDER|TOOL|WEBHOOK|HTTP)_NETWORKS\n +value: )""')
PLACES = 4
SYSTEM = "agentsessions-system"


def prepare_cluster() -> Kubectl:
    """Bring up the cluster and return its kubectl."""
    with stage("1/5", "a Kubernetes cluster (the first time builds it: about 10 minutes on 2 cores)"):
        run([*CLUSTER, "up"], "the cluster did not come up")
    path = run([*CLUSTER, "path"], "the cluster's tools were not found", capture=True).strip()
    kubeconfig = run([*CLUSTER, "kubeconfig"], "the kubeconfig was not found", capture=True).strip()
    return Kubectl(path, kubeconfig)


def install(kubectl: Kubectl, allowed_networks: Sequence[str] = ()) -> None:
    """Build and import the image, apply the manifest with it, and wait until operator and gateway are ready.

    Args:
        kubectl: The cluster's.
        allowed_networks: Networks (CIDR) that model providers, tool servers, receivers of webhooks and web servers may
            be in although they are private.
    """
    with stage("2/5", "the product's image"):
        image = run([*CLUSTER, "image"], "the image was not built", capture=True).strip()
    with stage("3/5", "operator and gateway"):
        manifest = adapt(MANIFEST.read_text(), image, allowed_networks)
        kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=manifest)
        kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        kubectl("apply", "--server-side", "--force-conflicts", "-f", str(DEFAULT_PROVIDER))
        for name in ("agentsessions-gateway", "agentsessions-operator"):
            kubectl("rollout", "status", f"deployment/{name}", "-n", SYSTEM, "--timeout=180s")


def adapt(manifest: str, image: str, allowed_networks: Sequence[str]) -> str:
    """Return the released manifest with another image, and with networks that providers and tools may be in."""
    if RELEASED_IMAGE not in manifest:
        raise StageFailed(f"{MANIFEST.name} does not name {RELEASED_IMAGE}; run `make generate`")
    manifest, places = ALLOWED_NETWORKS.subn(rf'\g<1>"{",".join(allowed_networks)}"', manifest)
    if places != PLACES:
        raise StageFailed(f"{MANIFEST.name} does not leave the gateway's allowed networks empty; run `make generate`")
    return manifest.replace(RELEASED_IMAGE, image)
