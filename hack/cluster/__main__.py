"""Start, repair and remove a Kubernetes cluster for development: `python3 hack/cluster up`."""

import sys

from localcluster.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
