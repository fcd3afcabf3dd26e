"""JSON of any depth."""

import orjson
import pytest

from agentsessions.engine.decode import MAX_DEPTH, cut_deep, read_json


def nested(levels: int, inside: bytes = b"1") -> bytes:
    return b'{"a":[' * (levels // 2) + inside + b"]}" * (levels // 2)


@pytest.mark.parametrize("levels", [1100, 20_000])
def test_an_object_deeper_than_the_parser_goes_is_read_without_its_depths(levels: int) -> None:
    found = read_json(b'{"items":[{"deep":' + nested(levels) + b',"name":"x"},{"name":"y"}]}')
    assert [item["name"] for item in found["items"]] == ["x", "y"]
    orjson.dumps(found)


def test_nothing_is_cut_off_what_fits() -> None:
    content = nested(MAX_DEPTH, b'"[[{{\\"]] \\\\"')
    assert cut_deep(content) == content
    assert cut_deep(b"[" + content + b"]") == b"[" + nested(MAX_DEPTH, b"").replace(b'{"a":[]}', b'{"a":null}') + b"]"


@pytest.mark.parametrize("content", [b"", b"{", b'{"a"', b"[" * 2000, b'{"a": 1,}'])
def test_what_is_no_json_stays_an_error(content: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read_json(content)
