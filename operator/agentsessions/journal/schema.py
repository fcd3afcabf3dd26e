"""What the journal's tables have in common: their names' convention, and columns that many have."""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, String

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def count(name: str) -> Column[int]:
    """Return a column that counts up from 0."""
    return Column(name, BigInteger, nullable=False, server_default="0")


def session_key(**options: Any) -> Column[str]:
    """Return the column that says which session a row belongs to."""
    return Column("session_uid", String(64), ForeignKey("sessions.uid"), nullable=False, **options)
