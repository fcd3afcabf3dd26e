"""Journals on SQLite that tests start with: copies of one that is migrated, which takes a twentieth of a second."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from agentsessions.journal.database import create_writer_engine, migrate


@cache
def migrated() -> bytes:
    """Return the file of an empty journal."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        engine = create_writer_engine(url_of(path))
        migrate(engine)
        engine.dispose()  # the last connection brings the write-ahead log into the file
        return path.read_bytes()


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def put_journal(path: Path) -> str:
    """Write an empty journal to a path, and return its URL."""
    path.write_bytes(migrated())
    return url_of(path)
