"""How long the journal keeps what is gone, as people write it. Pure."""

import re
from datetime import timedelta
from typing import Final

NEVER: Final = "never"
_SPAN: Final = re.compile(r"([1-9][0-9]{0,4})([hdw])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def to_span(text: str) -> timedelta | None:
    """Return how long is kept what `text` says; None for ever.

    Raises:
        ValueError: It says nothing that we know.
    """
    if text in {"", NEVER}:
        return None
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time to keep a journal; write {NEVER}, or a number of h, d or w, such as 30d")
    return int(found[1]) * _UNITS[found[2]]
