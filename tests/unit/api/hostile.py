"""Hostile content for data sources, made from a seed: the same each time."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from agentsessions.api.v1alpha1.session import DataFormat

PIECES = (
    b",", b'"', b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xc3\x28", b"[", b"]", b"{", b"}", b":", b"null", b"NaN",
    b"1e999", b"-0", b"../../etc/passwd", b"=cmd|' /C calc'!A0", b"\\ud800", b"\xef\xbb\xbf", b"a", b"A",
    b"\xe2\x80\xae",
    b"9" * 40, b'{"a":1}', b"a,b\n1,2\n", b"&a [*a,*a]", b"<!ENTITY x SYSTEM 'file:///etc/passwd'>", b"; DROP TABLE t;",
)  # fmt: skip


def hostile_file(number: int) -> tuple[bytes, DataFormat]:
    """Return the content of the file with this number, and the format that it claims."""
    random = Random(number)  # noqa: S311 - made up data
    form = random.choice(list(DataFormat))
    return random.choice((_noise, _grammar, _broken, _long))(random, form), form


def _noise(random: Random, _form: DataFormat) -> bytes:
    return random.randbytes(random.randrange(2000))


def _grammar(random: Random, _form: DataFormat) -> bytes:
    return b"".join(random.choices(PIECES, k=random.randrange(400)))


def _broken(random: Random, form: DataFormat) -> bytes:
    """Return a sound file with some bytes of it changed."""
    rows = [{"region": _value(random), "amount": _value(random)} for _ in range(random.randrange(1, 60))]
    if form is DataFormat.JSON:
        sound = json.dumps(rows).encode()
    else:
        lines = [f"{row['region']},{row['amount']}" for row in rows]
        sound = "\n".join(["region,amount", *lines]).encode("utf-8", "replace")
    broken = bytearray(sound)
    for _ in range(random.randrange(4)):
        place = random.randrange(len(broken))
        broken[place : place + random.randrange(3)] = random.choice(PIECES)
    return bytes(broken)


def _long(random: Random, _form: DataFormat) -> bytes:
    """Return one piece very often: deep, wide, long or all of it."""
    piece = random.choice((*PIECES, b'{"a":', b"[[", b"a,\n", b'"a",'))
    return piece * random.choice((10, 1_000, 20_000))


def _value(random: Random) -> Any:
    return random.choice((1, -2.5, "x", "", None, True, "9" * 30, [1, [2]], {"a": {"b": 1}}, "\u202e", 2**70))
