"""Running programs and saying so."""

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

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


def run(
    command: Sequence[str],
    what_failed: str,
    *,
    capture: bool = False,
    hide_progress: bool = False,
    stdin: str | None = None,
) -> str:
    """Run a program; return what it printed when captured. Its progress (standard error) is shown unless hidden.

    Raises:
        StageFailed: It exited with an error.
    """
    done = subprocess.run(
        command,
        check=False,
        text=True,
        input=stdin,
        stdout=PIPE if capture else None,
        stderr=PIPE if hide_progress else None,
    )
    if done.returncode != 0:
        raise StageFailed(f"{what_failed} (exit code {done.returncode})\n{done.stderr or ''}".rstrip())
    return done.stdout or ""


class Kubectl:
    """kubectl of the cluster."""

    def __init__(self, path: str, kubeconfig: str) -> None:
        self.path = path
        self.kubeconfig = kubeconfig
        own = Path(path) / "kubectl"
        self._program = str(own) if own.exists() else "kubectl"

    def command(self, *words: str) -> list[str]:
        """Return the whole command line."""
        return [self._program, "--kubeconfig", self.kubeconfig, *words]

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output."""
        return run(
            self.command(*words), f"kubectl {' '.join(words)} failed", capture=True, hide_progress=True, stdin=stdin
        )
