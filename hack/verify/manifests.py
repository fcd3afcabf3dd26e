"""Write the manifests that have a source elsewhere: `python hack/verify/manifests.py [--check]`.

From the Helm chart:

manifests/install.yaml          everything but the default model, for `kubectl apply`
manifests/default-provider.yaml the default model: its kind must exist first, so it is a second apply
manifests/base/install.yaml     install.yaml again: kustomize reads nothing outside the folder that it is given

From the .lua files beside it:
manifests/argocd/argocd-cm.yaml health checks, as Argo CD wants them in its ConfigMap
"""

import re
import sys
import textwrap
from pathlib import Path
from typing import Final

import yaml
from programs import HELM_OPTIONS, NAMESPACE, ROOT, helm

from hack.generated import REPAIR, write_or_check

HEADER: Final = f"# Generated from helm/agentsessions by hack/verify/manifests.py. Do not edit: run `{REPAIR}`.\n"
HELMS_OWN: Final = re.compile(r"^ *(helm\.sh/chart: .*|app\.kubernetes\.io/managed-by: Helm)\n", re.MULTILINE)
"""Labels that are untrue where Helm installs nothing."""

NAMESPACE_MANIFEST: Final = f"""\
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    app.kubernetes.io/name: agentsessions
    pod-security.kubernetes.io/enforce: restricted
    pod-security.kubernetes.io/warn: restricted
"""

ARGO_CD: Final = ROOT / "manifests" / "argocd"
HEALTH_CHECKS: Final = {
    "AgentSession": "agentsession.lua",
    "ModelProvider": "modelprovider.lua",
    "ToolServer": "toolserver.lua",
    "SessionWebhook": "sessionwebhook.lua",
}
ARGO_CD_HEADER: Final = f"""\
# Generated from the .lua files in this folder by hack/verify/manifests.py. Do not edit: run `{REPAIR}`.
# kubectl patch configmap argocd-cm -n argocd --type merge --patch-file manifests/argocd/argocd-cm.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
data:
"""


def render() -> dict[Path, str]:
    """Return the text of each file."""
    text = HELMS_OWN.sub("", helm("template", "agentsessions", "helm/agentsessions", *HELM_OPTIONS))
    documents = [document.strip() + "\n" for document in re.split(r"^---\n", text, flags=re.MULTILINE)]
    objects = [document for document in documents if yaml.safe_load(document)]
    provider = [document for document in objects if yaml.safe_load(document)["kind"] == "ModelProvider"]
    others = [NAMESPACE_MANIFEST, *(document for document in objects if document not in provider)]
    crds = [path.read_text() for path in sorted((ROOT / "crds").glob("*.yaml"))]
    folder, everything = ROOT / "manifests", _joined([*crds, *others])
    return {
        folder / "install.yaml": everything,
        folder / "base" / "install.yaml": everything,
        folder / "default-provider.yaml": _joined(provider),
        ARGO_CD / "argocd-cm.yaml": render_health_checks(),
    }


def render_health_checks() -> str:
    """Return a patch of Argo CD's own ConfigMap with a health check for each of our kinds."""
    text = ARGO_CD_HEADER
    for kind, name in HEALTH_CHECKS.items():
        script = textwrap.indent((ARGO_CD / name).read_text(), "    ")
        text += f"  resource.customizations.health.agentsessions.dev_{kind}: |\n{script}"
    return text


def _joined(documents: list[str]) -> str:
    return HEADER + "---\n".join(documents)


if __name__ == "__main__":
    sys.exit(write_or_check(render(), "their sources"))
