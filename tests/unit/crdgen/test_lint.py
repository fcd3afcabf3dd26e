"""What the API lint refuses."""

import pytest

from agentsessions.crdgen.lint import lint
from agentsessions.crdgen.schema import Json

FINE = {"description": "Fine.", "type": "string", "maxLength": 5}


@pytest.mark.parametrize(
    ("field", "problems"),
    [
        pytest.param(FINE, [], id="a described and bounded string"),
        pytest.param(FINE | {"description": ""}, ["has no description"], id="no description"),
        pytest.param({"description": "D.", "type": "string"}, ["has no maxLength"], id="an endless string"),
        pytest.param({"description": "D.", "type": "string", "enum": ["a"]}, [], id="a closed set"),
        pytest.param({"description": "D.", "type": "string", "format": "date-time"}, [], id="a time"),
        pytest.param({"description": "D.", "type": "integer"}, ["has no maximum"], id="an endless number"),
        pytest.param({"description": "D.", "type": "integer", "format": "int64"}, [], id="64 bits"),
        pytest.param(
            {"description": "D.", "x-kubernetes-int-or-string": True}, ["has no maxLength"], id="an endless quantity"
        ),
        pytest.param({"description": "D.", "type": "object"}, ["has no maxProperties"], id="an object of nothing"),
        pytest.param(
            {"description": "D.", "type": "object", "x-kubernetes-preserve-unknown-fields": True}, [], id="free JSON"
        ),
    ],
)
def test_lint_finds(field: Json, problems: list[str]) -> None:
    found = lint({"description": "D.", "type": "object", "properties": {"f": field}}, "Kind")
    assert len(found) == len(problems)
    for text, problem in zip(found, problems, strict=True):
        assert text.startswith(f"Kind.f: {problem}")


@pytest.mark.parametrize(
    ("field", "where"),
    [
        pytest.param({"type": "array", "maxItems": 1, "items": {"type": "string"}}, "Kind.f[]", id="in a list"),
        pytest.param(
            {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}},
            "Kind.f{}",
            id="in a map",
        ),
    ],
)
def test_lint_looks_below(field: Json, where: str) -> None:
    schema = {"description": "D.", "type": "object", "properties": {"f": field | {"description": "D."}}}
    assert lint(schema, "Kind") == [f"{where}: has no maxLength; bound it with Field"]


def test_lint_wants_an_end_of_lists_and_maps() -> None:
    fields = {
        "list": {"description": "D.", "type": "array", "items": FINE},
        "map": {"description": "D.", "type": "object", "additionalProperties": FINE},
    }
    found = lint({"description": "D.", "type": "object", "properties": fields}, "Kind")
    assert found == [
        "Kind.list: has no maxItems; bound it with Field",
        "Kind.map: has no maxProperties; bound it with Field",
    ]
