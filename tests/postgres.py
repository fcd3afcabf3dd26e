"""Databases on a server of the test run's own: each starts as a copy of one that is migrated."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg

from agentsessions.journal.database import create_writer_engine, migrate
from hack.postgres.localpostgres.programs import ensure_programs
from hack.postgres.localpostgres.server import Server, create_folder

TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")  # noqa: S108 - what is in there is lost with the machine, and shall be


class Databases:
    """Makes databases."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._numbers = itertools.count(1)
        server.create_database(TEMPLATE)
        engine = create_writer_engine(server.url(TEMPLATE))
        migrate(engine)
        engine.dispose()

    @contextmanager
    def create(self, template: str = TEMPLATE) -> Iterator[str]:
        """Create a database and return its name; it is dropped at the end."""
        name = f"test{next(self._numbers)}"
        # A quarter of the time that the default way takes, which writes each page to its log.
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        try:
            yield name
        finally:
            self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _execute(self, statement: LiteralString) -> None:
        """Do without a process of psql: it takes longer than the statement."""
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def open_databases() -> Iterator[Databases]:
    """Start a server, and stop it at the end."""
    parent = MEMORY if MEMORY.is_dir() else None
    with create_folder(parent) as folder, Server(ensure_programs(), folder, is_durable=False) as server:
        yield Databases(server)
