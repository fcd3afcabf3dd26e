"""What of a stranger's tool may be shown to a model, and which arguments are let through to it."""

import json
from typing import Any

import pytest

from agentsessions.api.tool_arguments import BadArgumentsError, read_arguments
from agentsessions.api.tool_schemas import MAX_OFFER_NAME, digest_of_tool, offer_name, why_unusable

pytestmark = pytest.mark.requirement("AG-2")


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def a_bomb(levels: int) -> dict[str, Any]:
    """Return a schema each of whose parts stands for six of the next."""
    defs = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 6} for n in range(levels)}
    return an_object(a={"$ref": "#/$defs/d0"}) | {"$defs": {**defs, f"d{levels}": {"type": "string"}}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = an_object(a=schema)
    return schema


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        pytest.param(an_object(a={"$ref": "https://evil.example/s.json"}), "own parts alone", id="another place"),
        pytest.param(an_object(a={"$ref": "file:///etc/passwd"}), "own parts alone", id="a file"),
        pytest.param(an_object(a={"$ref": "#/$defs/none"}), "does not have", id="a part that is not there"),
        pytest.param({"type": "object", "$ref": "#/properties/a", **an_object(a={"$ref": "#/$defs/x"}),
                      "$defs": {"x": {"$ref": "#/properties/a"}}}, "itself", id="itself"),
        pytest.param(a_bomb(6), "more than 2000 parts", id="a bomb"),
        pytest.param(nested(40), "levels deep", id="too deep"),
        pytest.param(an_object(a={"description": "x" * 40_000}), "bytes", id="too long"),
        pytest.param({"type": "string"}, "not that of an object", id="no object"),
        pytest.param(an_object() | {"patternProperties": {"(a+)+$": {}}}, "patternProperties", id="names by a pattern"),
        pytest.param(an_object(a={"$dynamicRef": "#x"}), "$dynamicRef", id="a reference that moves"),
    ],
)  # fmt: skip
def test_schema_that_cannot_be_checked_in_bounds_is_not_offered(schema: dict[str, Any], said: str) -> None:
    assert said in (why_unusable(schema) or "")


def test_schema_with_parts_of_its_own_is_offered() -> None:
    schema = an_object(a={"$ref": "#/$defs/part"}, b={"$ref": "#/$defs/part"}) | {"$defs": {"part": {"type": "string"}}}

    assert why_unusable(schema) is None
    assert read_arguments("t", schema, '{"a": "x"}') == {"a": "x"}
    with pytest.raises(BadArgumentsError, match="not of type 'string'"):
        read_arguments("t", schema, '{"a": 1}')


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param("[" * 100_000, "not JSON", id="brackets"),
        pytest.param('{"a":' * 40_000 + "1" + "}" * 40_000, "not JSON", id="depth"),
        pytest.param(json.dumps({"a": [0] * 60_000}), "60002 values, too many to check", id="many values"),
        pytest.param('{"a": "' + "x" * 300_000 + '"}', "300009 characters, 262144 are allowed", id="length"),
        pytest.param("[]", "not of type 'object'", id="no object"),
        pytest.param('{"a": NaN}', "not of type 'array'", id="no number"),
        pytest.param("null", "not of type 'object'", id="nothing"),
        pytest.param("", "not JSON", id="no text"),
    ],
)
def test_hostile_arguments_are_refused_before_they_cost_much(arguments: str, says: str) -> None:
    schema = an_object(a={"type": "array", "items": {"anyOf": [{"type": "string"}] * 200}})
    with pytest.raises(BadArgumentsError, match=says):
        read_arguments("t", schema, arguments)


def test_patterns_of_strangers_are_left_to_them() -> None:
    schema = an_object(a={"type": "string", "pattern": "^(a+)+$"})

    assert read_arguments("t", schema, json.dumps({"a": "a" * 50 + "!"}))


def test_names_of_two_servers_never_meet() -> None:
    pairs = [
        ("a", "b__c"),
        ("a", "b-c"),
        ("a", "b.c"),
        ("a", "b/c"),
        ("a", "b_c"),
        ("a.b", "c"),
        ("a-b", "c"),
        ("ab", "c"),
    ]
    pairs += [("s" * 60, f"tool-{n}") for n in range(50)]
    names = [offer_name(*pair) for pair in pairs]

    assert len(set(names)) == len(pairs)
    assert all(len(name) <= MAX_OFFER_NAME and name.replace("_", "").replace("-", "").isalnum() for name in names)
    assert offer_name("web", "search") == "web__search"


def test_digest_changes_with_all_that_a_model_is_told() -> None:
    schema = an_object(a={"type": "string"})
    digests = {
        digest_of_tool("a", schema),
        digest_of_tool("b", schema),
        digest_of_tool("a", an_object(a={"type": "number"})),
    }
    assert len(digests) == 3
    assert digest_of_tool("a", json.loads(json.dumps(schema))) in digests
