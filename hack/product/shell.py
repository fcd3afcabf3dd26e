"""Running programs and saying so."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

START = time.monotonic()


class StageFailed(Exception):  # noqa: N818  # read aloud: the stage failed
    """A stage that cannot go on; the text says what to do."""


def say(text: str) -> None:
    """Print one line with the time since the start."""
    print(f"  [{time.monotonic() - START:6.1f} s] {text}", flush=True)


@contextmanager
def stage(number: str, title: str) -> Iterator[None]:
    """Print a stage's title, and the time it took."""
    print(f"\n== {number} {title}", flush=True)
    began = time.monotonic()
    yield
    say(f"done in {time.monotonic() - began:.1f} s")


def run(command: Sequence[str], what_failed: str, *, capture: bool = False, stdin: str | None = None) -> str:
    """Run a program; return what it printed when captured.

    Raises:
        StageFailed: It exited with an error.
    """
    done = subprocess.run(command, check=False, text=True, input=stdin, capture_output=capture)
    if done.returncode != 0:
        raise StageFailed(f"{what_failed} (exit code {done.returncode})\n{done.stderr or ''}".rstrip())
    return done.stdout or ""


class Kubectl:
    """kubectl of the cluster."""

    def __init__(self, path: str, kubeconfig: str) -> None:
        self.path = path
        self.kubeconfig = kubeconfig
        self._program = f"{path}/kubectl" if os.path.exists(f"{path}/kubectl") else "kubectl"

    def command(self, *words: str) -> list[str]:
        """Return the whole command line."""
        return [self._program, "--kubeconfig", self.kubeconfig, *words]

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output."""
        return run(self.command(*words), f"kubectl {' '.join(words)} failed", capture=True, stdin=stdin)

    def restart_stale_deployments(self, namespace: str) -> None:
        """Restart deployments whose pods run an older image of the same tag."""
        wanted = self._node_image_digests()
        pods = json.loads(self("get", "pods", "-n", namespace, "-o", "json"))["items"]
        for pod in pods:
            for container in pod.get("status", {}).get("containerStatuses", []):
                is_known = not wanted or container["imageID"].split("@")[-1] in wanted
                name = pod["metadata"]["labels"].get("app.kubernetes.io/name")
                if container["imageID"] and not is_known and name:
                    self("delete", "pod", pod["metadata"]["name"], "-n", namespace, "--wait=false")

    def _node_image_digests(self) -> set[str]:
        nodes = json.loads(self("get", "nodes", "-o", "json"))["items"]
        names = (name for node in nodes for image in node["status"].get("images", []) for name in image["names"])
        return {name.split("@")[-1] for name in names}
