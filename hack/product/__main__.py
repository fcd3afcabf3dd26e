"""The product on a cluster: `python3 hack/product install|demo`. Standard library alone."""

import argparse
import sys

from demo import demo
from install import install, prepare_cluster
from shell import StageFailed


def main(words: list[str]) -> int:
    """Run one verb and return the exit status."""
    options = parser().parse_args(words)
    try:
        if options.verb == "demo":
            return 0 if demo() else 1
        install(prepare_cluster(), options.allow_provider_network)
    except StageFailed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here, `make cluster-down` removes all", file=sys.stderr)
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Return what the command line may say."""
    found = argparse.ArgumentParser(prog="python3 hack/product", description="The product on a cluster.")
    verbs = found.add_subparsers(dest="verb", required=True)
    verbs.add_parser("demo", help="run one session from nothing to its result")
    text = "put the product, as built from this checkout, into the cluster"
    verb = verbs.add_parser("install", help=text, description=text)
    verb.add_argument(
        "--allow-provider-network",
        metavar="CIDR",
        action="append",
        default=[],
        help="let model providers and tool servers be in this private network (may be given again)",
    )
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
