"""A proxy before the API server that misbehaves by rules: `python3 hack/faults --help`."""

import sys
from pathlib import Path

from faultproxy.cli import main

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "operator"))  # for the way to the API server

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
