"""The benches by name. A bench returns whether what it promises held; a failed session or a missed target is exit 1."""

import argparse
from collections.abc import Callable, Sequence

from . import commits, conversation, idle, latency, lists, many, page, proxy, scale, startup, viewers, writes
from .machine import describe_machine

BENCHES = {
    "latency": latency,
    "many": many,
    "kwok": scale,
    "idle": idle,
    "conversation": conversation,
    "commits": commits,
    "list": lists,
    "page": page,
    "proxy": proxy,
    "startup": startup,
    "viewers": viewers,
    "writes": writes,
}


def main(argv: Sequence[str]) -> int:
    """Run one bench, or all with their defaults, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python hack/bench", description="Measure the product.")
    verbs = parser.add_subparsers(dest="bench")
    for name, module in BENCHES.items():
        summary = (module.__doc__ or "").splitlines()[0]
        bench = verbs.add_parser(name, help=summary, description=summary)
        module.add_options(bench)
        bench.set_defaults(run=module.run)
    options = parser.parse_args(argv)
    if options.bench:
        return 0 if run_one(options.bench, options.run, options) else 1
    results = [run_one(name, module.run, parser.parse_args([name])) for name, module in BENCHES.items()]
    return 0 if all(results) else 1


def run_one(name: str, run: Callable[[argparse.Namespace], bool], options: argparse.Namespace) -> bool:
    """Run a bench under a heading that names the machine, and how busy it was before."""
    print(f"\n== {name}\nmachine: {describe_machine()}", flush=True)
    is_fine = run(options)
    if not is_fine:
        print(f"{name}: NOT FINE, see above")
    return is_fine
