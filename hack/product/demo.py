"""One session from nothing to its result.

Every stage may be run again; Ctrl-C leaves nothing broken.
"""

import json
import time

from gateway import fetch_steps, make_account
from install import ROOT, SYSTEM, install, prepare_cluster
from shell import Kubectl, StageFailed, say, stage

NAMESPACE = "demo"
SESSION = "sales-analysis"
ACCOUNT = "agentsessions-cli"
SAMPLE = ROOT / "manifests" / "samples" / "sales"
FINAL = {"Completed", "Failed", "Cancelled", "Expired"}
PATIENCE_SECONDS = 180


def demo() -> bool:
    """Run the demo; say whether the session completed."""
    kubectl = prepare_cluster()
    install(kubectl)
    start_session(kubectl)
    session = follow(kubectl)
    let_speak(kubectl)
    report(kubectl, session)
    return session["status"]["phase"] == "Completed"


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


def let_speak(kubectl: Kubectl) -> None:
    """Make the account that speaks at the gateway for who has a client certificate, as the local cluster's admin."""
    make_account(kubectl, ACCOUNT, NAMESPACE, role="edit")


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
    print(
        f"\nthe page (README, The command line, has the lines that install the command; Ctrl-C ends it):\n"
        f"  kubectl agentsession ui {SESSION} -n {NAMESPACE}\n"
        f"or, without the command, https://localhost:8443/ui/sessions/{NAMESPACE}/{SESSION} after\n"
        f"  kubectl port-forward -n {SYSTEM} service/agentsessions-gateway 8443:443 &\n"
        f"with the token of\n"
        f"  kubectl create token {ACCOUNT} -n {NAMESPACE}"
    )
