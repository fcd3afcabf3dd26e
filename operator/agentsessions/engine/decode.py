"""Reads JSON of any depth.

Fields without a schema may nest ten thousand levels deep, the API server's own limit, and one such object in a list
must not keep us from reading the others. What lies deeper than any reader needs is read as null.
"""

import re
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 250
"""The parser ends at 1024 levels; what has to be written again, at 254."""
_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_OPENING: Final = (b"[", b"{")
_CLOSING: Final = (b"]", b"}")


def read_json(content: bytes) -> Any:
    """Return what `content` says.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        cut = cut_deep(content)
        if cut == content:
            raise
        return orjson.loads(cut)


def cut_deep(content: bytes) -> bytes:
    """Return JSON with null for what is nested deeper than `MAX_DEPTH`."""
    kept, start, depth = [], 0, 0
    for token in _TOKEN.finditer(content):
        if token.group() in _OPENING:
            depth += 1
            if depth == MAX_DEPTH + 1:
                kept += [content[start : token.start()], b"null"]
        elif token.group() in _CLOSING:
            if depth == MAX_DEPTH + 1:
                start = token.end()
            depth -= 1
    return b"".join([*kept, content[start:]])
