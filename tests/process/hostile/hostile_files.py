"""Files that mean harm, made from a number: data sources and policies, the same each time."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from agentsessions.api.v1alpha1.context import DataFormat

TEN_MEGABYTES: Final = 10_000_000
PIECES: Final = (
    b",", b'"', b"\n", b"\r\n", b"\0", b"\xff\xfe", b"\xc3\x28", b"[", b"]", b"{", b"}", b":", b"null", b"NaN",
    b"1e999", b"-0", b"../../etc/passwd", b"=cmd|' /C calc'!A0", b"\\ud800", b"\\u0000", b"\xef\xbb\xbf", b"a", b"A",
    b"\xe2\x80\xae",
    b"9" * 40, b'{"a":1}', b"a,b\n1,2\n", b"&a [*a,*a]", b"<!ENTITY x SYSTEM 'file:///etc/passwd'>", b"; DROP TABLE t;",
)  # fmt: skip
YAML_PIECES: Final = (
    *PIECES, b"spec: ", b"rules:\n", b"- name: a\n", b"  when: ", b"  action: Deny\n", b"&b ", b"*b", b"<<: *b\n",
    b"? ", b"- ", b"--- ", b"...\n", b"|\n", b">-\n", b"!!python/object/apply:os.system [id]", b"!!binary ", b"!x!y ",
    b"%TAG ! x\n", b"#", b"  ", b"\t", b"'", b".inf", b"2026-11-21", b"1:59:59", b"0x", b"~", b"${jndi:ldap://x}",
    b"{{ x }}",
)  # fmt: skip
CEL_PIECES: Final = (
    "arguments", "tool", ".command", "[0]", "['../../etc/passwd']", "(", ")", "!", "-", "+", " && ", " || ", " ? ",
    " : ", " == ", " in ", "'x'", "'(a*)*b'", ".matches('((a{0,100}){0,100}){0,9}')", ".all(x, ", ".map(y, ",
    ".exists(z, ",
    "x", "1", "1e999", "9" * 40, "true", "null", "b'\\xff'", "r'\\'", '"', "{", "}", "duration('1s')", "usage.steps",
    "has(",
    "dyn(", "size(", "host", "dataSources", "type(", "timestamp('x')", "\\u0000", "\u202e",
)  # fmt: skip
LATE: Final = (b'{"":1}', b'{"a":"\\ud800"}', b"1", b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", b"NaN", b"]", b"{")
"""What a list of rows may end with, so that all of it is read first."""


def hostile_data(number: int) -> tuple[bytes, DataFormat]:
    """Return the content of a data source, and the format that it claims."""
    random = Random(number)  # noqa: S311 - made up data
    form = random.choice(list(DataFormat))
    kinds = (_noise, _grammar, _broken, _long, _large)
    return random.choices(kinds, (4, 4, 4, 2, 1))[0](random, form), form


def hostile_policy(number: int) -> bytes:
    """Return the YAML of a policy."""
    random = Random(number)  # noqa: S311 - made up data
    kinds = (_yaml_noise, _yaml_grammar, _yaml_broken, _bomb, _deep, _expressions, _strange, _huge)
    return random.choices(kinds, (2, 4, 4, 2, 1, 4, 2, 1))[0](random)


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
    return _changed(random, sound, PIECES)


def _changed(random: Random, sound: bytes, pieces: tuple[bytes, ...]) -> bytes:
    broken = bytearray(sound)
    for _ in range(random.randrange(4)):
        place = random.randrange(len(broken))
        broken[place : place + random.randrange(3)] = random.choice(pieces)
    return bytes(broken)


def _long(random: Random, _form: DataFormat) -> bytes:
    """Return one piece very often: deep, wide, long or all of it."""
    piece = random.choice((*PIECES, b'{"a":', b"[[", b"a,\n", b'"a",'))
    return piece * random.choice((10, 1_000, 20_000))


def _large(random: Random, form: DataFormat) -> bytes:
    """Return as much as is read, or ten times more, of which only the end is wrong."""
    if random.random() < 0.1:
        return b"a\n" * (TEN_MEGABYTES // 2)
    if form is DataFormat.CSV:
        row = random.choice((b"1,2\n", b"1.5,x\n", b"x," + b"y" * 60 + b"\n", b'"a\n",1\n'))
        return b"a,b\n" + row * min(49_990, 900_000 // len(row)) + random.choice((b"1\n", b'"', b"1,2,3\n"))
    row = random.choice((b'{"a":1}', b'{"a":"x","b":[1]}', b'{"a":{"b":[]}}', b'{"a":1.25}', b'{"a":[[[[1]]]]}'))
    rows = [row] * min(49_990, 900_000 // len(row))
    if random.random() < 0.3:
        rows = [b'{"c%d":1}' % (number % 250) for number in range(40_000)]
    return b"[" + b",".join([*rows, random.choice(LATE)]) + b"]"


def _value(random: Random) -> Any:
    return random.choice((1, -2.5, "x", "", None, True, "9" * 30, [1, [2]], {"a": {"b": 1}}, "\u202e", 2**70))


def _policy(*rules: dict[str, Any], **spec: Any) -> bytes:
    return json.dumps({"kind": "AgentPolicy", "metadata": {"name": "p"}, "spec": {"rules": rules, **spec}}).encode()


def _rule(when: str, number: int = 0) -> dict[str, Any]:
    return {"name": f"r{number}", "action": "Deny", "when": when}


def _yaml_noise(random: Random) -> bytes:
    return random.randbytes(random.randrange(2000))


def _yaml_grammar(random: Random) -> bytes:
    return b"".join(random.choices(YAML_PIECES, k=random.randrange(300)))


def _yaml_broken(random: Random) -> bytes:
    rules = [_rule("tool == 'x'", number) for number in range(random.randrange(1, 20))]
    return _changed(random, _policy(*rules, defaultAction=_value(random), dryRun=_value(random)), YAML_PIECES)


def _bomb(random: Random) -> bytes:
    """Return aliases of aliases: as lists, as merged maps, or of themselves."""
    levels, width = random.randrange(2, 40), random.randrange(2, 12)
    if random.random() < 0.2:
        return b"spec: &a {rules: [*a, *a]}"
    is_merge = random.random() < 0.5
    lines = ["a0: &a0 {k: v}" if is_merge else f"a0: &a0 [{'x,' * width}]"]
    for level in range(1, levels):
        many = ",".join([f"*a{level - 1}"] * width)
        lines.append(f"a{level}: &a{level} " + (f"{{<<: [{many}]}}" if is_merge else f"[{many}]"))
    return "\n".join([*lines, f"spec: *a{levels - 1}"]).encode()


def _deep(random: Random) -> bytes:
    piece = random.choice((b"[", b"{a: ", b"- ", b"? ", b"{? ", b"[{a: ", b"a:\n "))
    return b"spec: " + piece * random.choice((60, 70, 1000, 100_000))


def _expressions(random: Random) -> bytes:
    """Return a policy that is sound but for what its rules say."""
    rules = [
        _rule("".join(random.choices(CEL_PIECES, k=random.randrange(1, 60)))[:2000], number)
        for number in range(random.randrange(1, 64))
    ]
    return _policy(*rules)


def _strange(random: Random) -> bytes:
    """Return what fits YAML, and no policy: other fields, other kinds, paths for names."""
    values: tuple[Any, ...] = (
        {"../../../etc/passwd": 1}, {"rules": "../../etc/shadow"}, {"rules": [{"name": "../x", "action": "Allow"}]},
        {"rules": [{"name": "a", "action": "Root"}] * 2000}, {f"f{n}": n for n in range(2000)}, [], "text", 7, None,
        {"selector": {"matchLabels": {"a" * 5000: "b" * 5000}}}, {"rules": [_rule("true", n) for n in range(500)]},
        {"rules": [_rule("'" + "x" * 1000 + "' == tool", n) for n in range(64)]}, {"rules": [[[[[[]]]]]]},
        {"rules": [{"name": "a", "action": "Ask", "approval": {"quorum": 10**30}}]}, {"rules": [_rule("\0")]},
        {"rules": [_rule("(" * 1000)]}, {"rules": [_rule("!" * 1020 + "true")]}, {"dryRun": float("nan")},
    )  # fmt: skip
    return json.dumps({"spec": random.choice(values)}).encode()


def _huge(random: Random) -> bytes:
    """Return as much as is read of one thing, or ten megabytes."""
    piece = random.choice(
        (b"a: b\n", b"- 1\n", b"[1,", b"# x\n", b"---\n", b"'x'\n", b"x", b"\n", b"a: &a b\n", b"!", b'"\\x41')
    )
    return piece * (random.choice((500_000, TEN_MEGABYTES)) // len(piece))
