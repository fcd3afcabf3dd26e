"""Regular expressions that strangers write, in RE2's syntax: searched in linear time, whatever the pattern.

The standard library's engine may take for ever on a short text: one script would stop the gateway for everybody.
"""

from typing import Any, Final

import re2

MAX_SEARCHED_CHARACTERS: Final = 262_144
"""Linear is still too long for texts without bound: patterns see that much of one, from its beginning."""

_OPTIONS: Final = re2.Options()
_OPTIONS.log_errors = False  # it would write them to standard error
_OPTIONS.max_mem = 2**20  # bytes for one pattern; the library keeps the newest 128


class PatternError(ValueError):
    """A pattern that cannot be used; the text says why."""


def check_pattern(pattern: str) -> None:
    """Refuse a pattern that cannot be searched with.

    Raises:
        PatternError: It is not in RE2's syntax, or too large.
    """
    _compile(pattern)


def is_found(pattern: str, text: str) -> bool:
    """Whether `pattern` is anywhere in `text`.

    Raises:
        PatternError: See `check_pattern`.
    """
    return _compile(pattern).search(text[:MAX_SEARCHED_CHARACTERS]) is not None


def find_piece(pattern: str, text: str) -> str:
    """Return what the first group of `pattern` (without groups: all of it) finds; empty when nothing is found.

    `^` and `$` are the ends of a line.

    Raises:
        PatternError: See `check_pattern`.
    """
    found = _compile(f"(?m){pattern}").search(text[:MAX_SEARCHED_CHARACTERS])
    if found is None:
        return ""
    return (found.group(1) if found.re.groups else found.group()) or ""


def _compile(pattern: str) -> Any:
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        words = error.args[0] if error.args else error
        raise PatternError(words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)) from None
