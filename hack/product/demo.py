"""Show one session from nothing to its result: `python3 hack/demo`. Standard library alone.

Brings the cluster up, builds and imports the image, installs the product, applies manifests/samples/sales, and tells
what happens meanwhile. Every stage may be run again; Ctrl-C leaves nothing broken.
"""

import json
import sys
import time
from pathlib import Path

from gateway import fetch_steps
from shell import Kubectl, StageFailed, run, say, stage

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = [sys.executable, str(ROOT / "hack" / "cluster")]
SYSTEM = "agentsessions-system"
NAMESPACE = "demo"
SESSION = "sales-analysis"
SAMPLE = ROOT / "manifests" / "samples" / "sales"
OVERLAY = ROOT / "manifests" / "overlays" / "local"
FINAL = {"Completed", "Failed", "Cancelled", "Expired"}
PATIENCE_SECONDS = 180


def main() -> int:
    """Run the demo; return 0 when the session completed."""
    try:
        kubectl = prepare_cluster()
        install(kubectl)
        start_session(kubectl)
        session = follow(kubectl)
        report(kubectl, session)
    except StageFailed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; run `make demo` to go on, `make cluster-down` to remove the cluster", file=sys.stderr)
        return 130
    return 0 if session["status"]["phase"] == "Completed" else 1


def prepare_cluster() -> Kubectl:
    """Bring up the cluster and give it the product's image."""
    with stage("1/5", "a Kubernetes cluster (the first time builds it: about 10 minutes on 2 cores)"):
        run([*CLUSTER, "up"], "the cluster did not come up")
    with stage("2/5", "the product's image"):
        run([*CLUSTER, "image"], "the image was not built")
    path = run([*CLUSTER, "path"], "the cluster's tools were not found", capture=True).strip()
    kubeconfig = run([*CLUSTER, "kubeconfig"], "the kubeconfig was not found", capture=True).strip()
    return Kubectl(path, kubeconfig)


def install(kubectl: Kubectl) -> None:
    """Install operator and gateway, and wait until they are ready."""
    with stage("3/5", "operator and gateway"):
        kubectl("apply", "--server-side", "--force-conflicts", "-k", str(OVERLAY))
        kubectl("wait", "--for=condition=Established", "crd/agentsessions.agentsessions.dev", "--timeout=30s")
        kubectl.restart_stale_deployments(SYSTEM)
        for name in ("agentsessions-gateway", "agentsessions-operator"):
            kubectl("rollout", "status", f"deployment/{name}", "-n", SYSTEM, "--timeout=120s")


def start_session(kubectl: Kubectl) -> None:
    """Apply the sample afresh."""
    with stage("4/5", f"AgentSession {NAMESPACE}/{SESSION} over {SAMPLE.relative_to(ROOT)}/sales.csv"):
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        kubectl("delete", "agentsession", SESSION, "-n", NAMESPACE, "--ignore-not-found", "--wait=true")
        kubectl("apply", "-n", NAMESPACE, "-k", str(SAMPLE))


def follow(kubectl: Kubectl) -> dict:
    """Print each phase as it comes, until the session is final."""
    started, seen = time.monotonic(), ""
    with stage("5/5", "the session's life"):
        while True:
            session = json.loads(kubectl("get", "agentsession", SESSION, "-n", NAMESPACE, "-o", "json"))
            status = session.get("status", {})
            phase = status.get("phase", "Pending")
            if phase != seen:
                ready = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
                say(f"{phase:<10} {ready.get('message', '')}")
                seen = phase
            if phase in FINAL:
                return session
            if time.monotonic() - started > PATIENCE_SECONDS:
                raise StageFailed(
                    f"the session is still {phase} after {PATIENCE_SECONDS} s; see: "
                    f"kubectl describe agentsession {SESSION} -n {NAMESPACE}"
                )
            time.sleep(0.3)


def report(kubectl: Kubectl, session: dict) -> None:
    """Print the table, the steps, the result and what to try next."""
    print("\n$ kubectl get agentsessions -n demo")
    print(kubectl("get", "agentsessions", "-n", NAMESPACE), end="")
    print("\nsteps, from the gateway's journal:")
    for step in fetch_steps(kubectl, SYSTEM, NAMESPACE, SESSION):
        print("  " + step)
    print("\nresult:")
    status = session["status"]
    for line in (status.get("result") or status.get("error", {}).get("message", "")).splitlines():
        print("  " + line)
    print(
        f"\ntry next (with PATH and KUBECONFIG as below):\n"
        f"  kubectl describe agentsession {SESSION} -n {NAMESPACE}\n"
        f"  kubectl explain agentsession.spec.limits\n"
        f"  kubectl apply -f manifests/samples/minimal.yaml && "
        f"kubectl wait --for=condition=Complete agentsession/hello --timeout=30s\n"
        f"\n  export PATH={kubectl.path}:$PATH KUBECONFIG={kubectl.kubeconfig}"
    )


if __name__ == "__main__":
    sys.exit(main())
