"""Types of the journal's columns, where SQLite and PostgreSQL differ."""

import re
from datetime import UTC, datetime
from typing import Final

import orjson
from sqlalchemy import BigInteger, DateTime, Dialect, Integer, TypeDecorator
from sqlalchemy import Text as AnyText

RowId: Final = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite counts up INTEGER keys alone."""


def to_text(value: object) -> str:
    """Return a value as the JSON that both databases are given."""
    return orjson.dumps(value).decode()


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC; SQLite, which knows no zones, keeps it without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive values, give SQLite what it can compare."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: pass aware datetimes")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the instant with its zone."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Text(TypeDecorator[str]):
    """Text of strangers. PostgreSQL keeps no NUL character, which tools do print: it is escaped there."""

    impl = AnyText
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Escape NUL, and what it is escaped with."""
        if value is None or dialect.name == "sqlite" or not {"\0", _ESCAPE} & set(value):
            return value
        return value.replace(_ESCAPE, _ESCAPE * 2).replace("\0", f"{_ESCAPE}0")

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text as it was."""
        if value is None or dialect.name == "sqlite" or _ESCAPE not in value:
            return value
        return _ESCAPED.sub(lambda found: _ESCAPE if found[1] == _ESCAPE else "\0", value)


_ESCAPE: Final = "\x1a"
_ESCAPED: Final = re.compile(f"{_ESCAPE}([{_ESCAPE}0])")
