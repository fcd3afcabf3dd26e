"""For all tests: how fast the machine is proves nothing, and errors that are logged are told in plain lines."""

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.journals import put_journal
from tests.postgres import Databases, open_databases

# Byte code, of tests too, is kept wherever tests are run from: half of the time that collecting them takes.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# And half of the rest was garbage collection, of modules that stay: see `pytest_collection_finish`.
gc.disable()

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# The default draws a box around each variable of each frame: seconds for one traceback.
plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[structlog.processors.add_log_level, plain])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--journal",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="database that the tests of the journal and of its users run on",
    )


def pytest_collection_finish() -> None:
    """Let the collector look at what tests leave, and not at all that was imported."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """PostgreSQL, for those that ask for it."""
    with open_databases() as databases:
        yield databases


@pytest.fixture
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty journal of the test's own, on the database that the run is about."""
    if request.config.getoption("--journal") == "sqlite":
        yield put_journal(tmp_path / "journal.db")
        return
    databases: Databases = request.getfixturevalue("databases")
    with databases.create() as name:
        yield databases.server.url(name)
