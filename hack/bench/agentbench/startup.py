"""Command line: how long `--help` and `list` take from Enter to the prompt, against the cluster's API server."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping

from .cluster import ROOT, ask_cluster
from .figures import percentile, show

TARGETS = {"--help": 0.3, "list": 0.8}
"""Seconds that the median may take."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--times", type=int, default=10, help="how often each is run (default 10)")


def run(options: argparse.Namespace) -> bool:
    """Measure both, as programs of their own; each target is a median."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": ask_cluster("kubeconfig"),
    }
    is_fine = True
    for word, target in TARGETS.items():
        command = [sys.executable, "-m", "agentsessions.cli.main", word]
        measure(command, environment)  # once to warm the files up
        runs = [measure(command, environment) for _ in range(options.times)]
        seconds, processor = [one[0] for one in runs], [one[1] for one in runs]
        is_fine = is_fine and percentile(seconds, 50) <= target
        print(f"{word:<7} {show(seconds)}  target {target} s  processor p50 {percentile(processor, 50):.2f} s")
    return is_fine


def measure(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Run a command; return its seconds by the clock, and those of the processor."""
    before, began = _processor(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    return time.monotonic() - began, _processor() - before


def _processor() -> float:
    """Return the seconds that ended children have used."""
    used = os.times()
    return used.children_user + used.children_system
