"""Statements of jobs that are compiled once, and then go straight to the driver.

SQLAlchemy writes the SQL, and knows how values are bound and read; see `driver` for why it does no more.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Delete, Dialect, Insert, Select, Table, Update, bindparam, delete, insert, update
from sqlalchemy.sql.compiler import SQLCompiler

from agentsessions.journal import driver
from agentsessions.journal.rows import Columns
from agentsessions.journal.writer import Work

Statement = Select[Any] | Insert | Update | Delete


class Prepared:
    """A statement whose parameters have the same names at each run."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._compiled: WeakKeyDictionary[Dialect, _Compiled] = WeakKeyDictionary()

    def rows(self, work: Work, **values: Any) -> list[Columns]:
        """Return the rows that are found."""
        compiled = self._compile(work, values)
        found = compiled.run(work, values).fetchall()
        return [dict(zip(compiled.names, compiled.read(row), strict=True)) for row in found]

    def row(self, work: Work, **values: Any) -> Columns | None:
        """Return the row that is found, None when there is none; there is one at most."""
        found = self.rows(work, **values)
        return found[0] if found else None

    def values(self, work: Work, **values: Any) -> list[Any] | None:
        """Return the row that is found, in the order of its columns; None when there is none."""
        compiled = self._compile(work, values)
        found = compiled.run(work, values).fetchall()  # all of it: a statement that is not at its end stays open
        return compiled.read(found[0]) if found else None

    def value(self, work: Work, **values: Any) -> Any:
        """Return the first column of the row that is found, None when there is none."""
        found = self.values(work, **values)
        return None if found is None else found[0]

    def run(self, work: Work, **values: Any) -> int:
        """Change rows; return how many."""
        changed: int = self._compile(work, values).run(work, values).rowcount
        return changed

    def run_each(self, work: Work, each: Sequence[Mapping[str, Any]]) -> None:
        """Run once for each of the values."""
        if each:
            compiled = self._compile(work, each[0])
            bound = [compiled.bind(values) for values in each]
            driver.execute(work.conn, compiled.sql, bound, is_each=True)

    def _compile(self, work: Work, values: Mapping[str, Any]) -> "_Compiled":
        found = self._compiled.get(work.conn.dialect)
        if found is None:
            found = self._compiled[work.conn.dialect] = _Compiled(self._statement, work.conn.dialect, tuple(values))
        return found


class _Compiled:
    """A statement as one database's driver takes it."""

    def __init__(self, statement: Statement, dialect: Dialect, names: tuple[str, ...]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(names))
        if not isinstance(compiled, SQLCompiler) or compiled.post_compile_params:
            raise TypeError(f"{statement} is not the same SQL at each run")
        self.sql = compiled.string
        types = {name: parameter.type.dialect_impl(dialect) for parameter, name in compiled.bind_names.items()}
        binders = {name: binder for name, type_ in types.items() if (binder := type_.bind_processor(dialect))}
        self._given = frozenset(names)
        self._binders = {name: binder for name, binder in binders.items() if name in self._given}
        own = {name: value for name, value in compiled.params.items() if name not in self._given}
        self._own = {name: binders[name](value) if name in binders else value for name, value in own.items()}
        self._order = compiled.positiontup
        columns = statement.exported_columns.values()
        self.names = tuple(column.key for column in columns)
        readers = (column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns)
        self._readers = tuple((index, reader) for index, reader in enumerate(readers) if reader is not None)

    def run(self, work: Work, values: Mapping[str, Any]) -> Any:
        return driver.execute(work.conn, self.sql, self.bind(values))

    def bind(self, values: Mapping[str, Any]) -> Any:
        """Return the values as the driver takes them."""
        if values.keys() != self._given:
            raise TypeError(f"{self.sql} is run with {', '.join(values)}; it was compiled for {', '.join(self._given)}")
        bound = {**self._own, **values}
        for name, bind in self._binders.items():
            bound[name] = bind(bound[name])
        return bound if self._order is None else [bound[name] for name in self._order]

    def read(self, row: Sequence[Any]) -> list[Any]:
        """Return the values of a row of the driver's."""
        values = list(row)
        for index, reader in self._readers:
            values[index] = reader(values[index])
        return values


def add(work: Work, table: Table, **values: Any) -> None:
    """Insert a row."""
    _insert(table, tuple(values)).run(work, **values)


def change(work: Work, table: Table, key: Mapping[str, Any], **values: Any) -> int:
    """Set columns of the rows with this key, which holds no None; return how many there are."""
    wanted = {f"key_{name}": value for name, value in key.items()}
    new = {f"new_{name}": value for name, value in values.items()}
    return _update(table, tuple(key), tuple(values)).run(work, **wanted, **new)


def remove(work: Work, table: Table, key: Mapping[str, Any]) -> None:
    """Delete the rows with this key; it holds no None."""
    _delete(table, tuple(key)).run(work, **{f"key_{name}": value for name, value in key.items()})


@cache
def _insert(table: Table, names: tuple[str, ...]) -> Prepared:
    del names  # of a statement for each
    return Prepared(insert(table))


@cache
def _update(table: Table, key: tuple[str, ...], changed: tuple[str, ...]) -> Prepared:
    where = [table.c[name] == bindparam(f"key_{name}") for name in key]
    return Prepared(update(table).where(*where).values({name: bindparam(f"new_{name}") for name in changed}))


@cache
def _delete(table: Table, key: tuple[str, ...]) -> Prepared:
    return Prepared(delete(table).where(*(table.c[name] == bindparam(f"key_{name}") for name in key)))
