"""The programs that the checks run, of the versions that hack/cluster pins."""

import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
NAMESPACE: Final = "agentsessions-system"
HELM_OPTIONS: Final = ("--namespace", NAMESPACE, "--kube-version", "1.34.0")
"""A helm built from source takes the cluster for Kubernetes 1.20 when it renders without one."""


def run(*words: str, stdin: str | None = None) -> str:
    """Run a program in the repository's root and return what it printed; end this one when it fails."""
    done = subprocess.run(words, cwd=ROOT, input=stdin, text=True, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} failed (exit code {done.returncode})\n{done.stdout}")
    return done.stdout


def cluster(*words: str) -> str:
    """Return what a verb of hack/cluster prints."""
    return run(sys.executable, "hack/cluster", *words).strip()


def helm(*words: str) -> str:
    """Run helm."""
    return run(cluster("tool", "helm"), *words)
