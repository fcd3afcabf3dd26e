"""Arguments of calls as models write them, made such that the programs behind can read them. Pure.

They are text of a stranger, and agents' engines parse them before they ask whether the tool exists: what an engine
cannot parse, or write again, would end the turn, at each try, and so the session.
"""

import re
from itertools import accumulate
from typing import Final

MAX_DEPTH: Final = 100
"""Levels. Engines walk through arguments by recursion, a few frames for each."""
SHOWN: Final = 100
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape of JSON: a pair that makes one character, half of one, or any other."""
_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def to_readable(written: str) -> str:
    """Return arguments that can be read and written again: as they are, but for half characters, or no JSON at all."""
    if _depth(written) > MAX_DEPTH:
        return f"nested more than {MAX_DEPTH} levels deep, and left out; it began: {written[:SHOWN]}"
    return _ESCAPE.sub(lambda found: r"\ufffd" if found["half"] else found.group(), written)


def _depth(written: str) -> int:
    if written.count("[") + written.count("{") <= MAX_DEPTH:
        return 0
    brackets = _STRINGS.sub(b"", written.encode(errors="replace")).translate(None, _NO_BRACKETS)
    return max(accumulate(_STEPS[one] for one in brackets), default=0)
