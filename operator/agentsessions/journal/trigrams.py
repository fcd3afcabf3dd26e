"""An index of texts on SQLite, for lists: groups of three letters, by SQLite's own FTS5.

Triggers keep it, so that what writes sessions need not know of it. It is no part of the journal: it is made where it is
missing, and a copy to another database leaves it behind. PostgreSQL has the same as `pg_trgm`.
"""

from typing import Final

from sqlalchemy import Connection, TextClause, text

LETTERS: Final = 3
MOST_RARE: Final = 5000
"""Sessions whose rows are read one by one; of more it is cheaper to look at all texts."""
_MOST_GROUPS: Final = 24
"""Groups of a text that are looked for: what has them all is compared with the whole text anyhow."""

PREFIX: Final = "session_texts"
"""Names of all that is made here begin so."""
_SCHEMA: Final = (
    # Rows of `sessions` have no number of their own that lasts.
    """
    CREATE TABLE session_texts (id INTEGER PRIMARY KEY, session_uid TEXT NOT NULL UNIQUE)
    """,
    """
    CREATE VIRTUAL TABLE session_texts_groups
    USING fts5(search, content='', detail=none, columnsize=0, tokenize='trigram case_sensitive 1')
    """,
    """
    CREATE TRIGGER session_texts_insert AFTER INSERT ON sessions BEGIN
      INSERT INTO session_texts(session_uid) VALUES (new.uid);
      INSERT INTO session_texts_groups(rowid, search)
        SELECT id, new.search FROM session_texts WHERE session_uid = new.uid;
    END
    """,
    """
    CREATE TRIGGER session_texts_update AFTER UPDATE OF search ON sessions WHEN old.search <> new.search BEGIN
      INSERT INTO session_texts_groups(session_texts_groups, rowid, search)
        SELECT 'delete', id, old.search FROM session_texts WHERE session_uid = old.uid;
      INSERT INTO session_texts_groups(rowid, search)
        SELECT id, new.search FROM session_texts WHERE session_uid = new.uid;
    END
    """,
    """
    CREATE TRIGGER session_texts_delete AFTER DELETE ON sessions BEGIN
      INSERT INTO session_texts_groups(session_texts_groups, rowid, search)
        SELECT 'delete', id, old.search FROM session_texts WHERE session_uid = old.uid;
      DELETE FROM session_texts WHERE session_uid = old.uid;
    END
    """,
    """
    INSERT INTO session_texts(session_uid) SELECT uid FROM sessions
    """,
    """
    INSERT INTO session_texts_groups(rowid, search)
      SELECT id, search FROM session_texts JOIN sessions ON uid = session_uid
    """,
)
_COUNT: Final = text("""
    SELECT count(*) FROM (SELECT rowid FROM session_texts_groups WHERE session_texts_groups MATCH :groups LIMIT :most)
""")
_FOUND: Final = text("""
    sessions.uid IN (
      SELECT session_uid FROM session_texts
      WHERE id IN (SELECT rowid FROM session_texts_groups WHERE session_texts_groups MATCH :groups)
    )
""")


def index_texts(connection: Connection) -> None:
    """Make the index where there is none, of all that is there."""
    if connection.exec_driver_sql("SELECT 1 FROM sqlite_schema WHERE name = 'session_texts'").first() is None:
        for statement in _SCHEMA:
            connection.exec_driver_sql(statement)


def find_rare(connection: Connection, wanted: str) -> TextClause | None:
    """Return a condition that few sessions meet, and among them all that have the text; None where it is not rare.

    Args:
        connection: To a SQLite journal.
        wanted: Text in lower case; one of less than three letters is not known to be rare.
    """
    if len(wanted) < LETTERS or "\0" in wanted:
        return None
    groups = dict.fromkeys(wanted[i : i + LETTERS] for i in range(len(wanted) - LETTERS + 1))
    quoted = ('"' + group.replace('"', '""') + '"' for group in list(groups)[:_MOST_GROUPS])
    matching = " AND ".join(quoted)
    found = connection.scalar(_COUNT, {"groups": matching, "most": MOST_RARE + 1}) or 0
    return _FOUND.bindparams(groups=matching) if found <= MOST_RARE else None
