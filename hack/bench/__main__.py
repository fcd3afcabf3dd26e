"""Measure the product: `make bench`, or `python hack/bench latency`; alone: all of them."""

import sys

from agentbench.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
