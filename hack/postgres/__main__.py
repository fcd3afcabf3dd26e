"""A PostgreSQL server for development: `python3 hack/postgres install|run`. Standard library alone."""

import sys

from localpostgres.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
