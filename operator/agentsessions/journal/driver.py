"""SQL that goes straight to the database's driver, within a transaction of SQLAlchemy's.

What SQLAlchemy does around one execution takes the processor three times as long as SQLite itself needs for it.
Errors are SQLAlchemy's all the same, without the values, and a connection that is lost is invalidated.
"""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError


def execute(conn: Connection, sql: str, values: Any = (), *, is_each: bool = False) -> DBAPICursor:
    """Run SQL of the driver's dialect, once with each of the values if `is_each`; return the cursor with what it found.

    Raises:
        DBAPIError: As SQLAlchemy would.
    """
    cursor = conn.connection.cursor()
    run = cursor.executemany if is_each else cursor.execute
    try:
        run(sql, values)
    except conn.dialect.loaded_dbapi.Error as error:
        raise _translate(conn, cursor, sql, error) from error
    return cursor


def _translate(conn: Connection, cursor: DBAPICursor, sql: str, error: Any) -> BaseException:
    dialect = conn.dialect
    is_lost = dialect.is_disconnect(error, conn.connection.dbapi_connection, cursor)
    if is_lost:
        conn.invalidate(error)
    found: BaseException = DBAPIError.instance(
        sql, None, error, dialect.loaded_dbapi.Error, connection_invalidated=is_lost, dialect=dialect
    )
    return found
