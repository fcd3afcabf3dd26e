"""Instants that people and programs write: RFC 3339, as the OpenAPI document says, and nothing else."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _check_form(text: Any) -> Any:
    """Refuse what pydantic takes besides, such as seconds since 1970: a typing error would be another instant."""
    if not isinstance(text, str) or not RFC_3339.fullmatch(text):
        raise ValueError("an instant as of RFC 3339 is expected, such as 2026-11-30T12:00:00Z")
    return text


def _to_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("an instant of the years 1 to 9999 is expected") from error


Instant = Annotated[AwareDatetime, BeforeValidator(_check_form), AfterValidator(_to_utc)]
"""An instant in UTC."""
