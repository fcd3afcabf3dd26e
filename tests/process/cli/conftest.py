"""The scripted API server of the command line's other tests."""

from tests.unit.cli.conftest import run, server

__all__ = ["run", "server"]
