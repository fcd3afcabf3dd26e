"""The product on a cluster: `python3 hack/product install|demo`. Standard library alone."""

import sys

from demo import demo
from install import install, prepare_cluster
from shell import StageFailed


def main(words: list[str]) -> int:
    """Run one verb and return the exit status."""
    try:
        match words:
            case ["install"]:
                install(prepare_cluster())
                return 0
            case ["demo"]:
                return 0 if demo() else 1
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except StageFailed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here, `make cluster-down` removes all", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
