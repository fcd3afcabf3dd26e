"""From pydantic to structural schema."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.crdgen.schema import SchemaError, build_schema


class Colour(StrEnum):
    """A colour."""

    RED = "Red"


class Wheel(ApiModel):
    """A wheel.

    It is round.
    """

    spokes: int
    """Spokes."""


class Cart(ApiModel):
    """A cart."""

    wheel: Wheel
    """Its first wheel."""
    spare: Wheel | None = None
    title: Annotated[str, Field(max_length=5)] | None = None
    """Not to be taken for the keyword."""
    colour: Colour = Colour.RED
    side: Literal["left"] = "left"
    built_at: datetime | None = None
    weight: float | None = None
    load: Annotated[str, Field(max_length=9, json_schema_extra={"x-kubernetes-int-or-string": True})] = "1"
    labels: Annotated[dict[str, Wheel], Field(max_length=2)] | None = None
    anything: dict[str, Any] | None = Field(
        default=None, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    wheels: Annotated[list[Wheel], Field(max_length=4)] | None = Field(
        default=None, json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )


WHEEL = {
    "type": "object",
    "required": ["spokes"],
    "properties": {"spokes": {"description": "Spokes.", "type": "integer", "format": "int64"}},
}
A_WHEEL = {"description": "A wheel. It is round.", **WHEEL}


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        pytest.param("wheel", WHEEL | {"description": "Its first wheel."}, id="what stands at the field wins"),
        pytest.param("spare", A_WHEEL, id="or None is an optional field"),
        pytest.param(
            "title",
            {"description": "Not to be taken for the keyword.", "type": "string", "maxLength": 5},
            id="a field may have the name of a keyword",
        ),
        pytest.param(
            "colour",
            {"description": "A colour.", "type": "string", "default": "Red", "enum": ["Red"]},
            id="an enum of one is an enum",
        ),
        pytest.param("side", {"type": "string", "default": "left", "enum": ["left"]}, id="a constant is an enum"),
        pytest.param("builtAt", {"type": "string", "format": "date-time"}, id="time has its format"),
        pytest.param("weight", {"type": "number", "format": "double"}, id="numbers are doubles"),
        pytest.param(
            "load",
            {
                "default": "1",
                "maxLength": 9,
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-int-or-string": True,
            },
            id="a quantity may be a number",
        ),
        pytest.param(
            "labels",
            {"type": "object", "maxProperties": 2, "additionalProperties": A_WHEEL},
            id="a map is bounded, its values are resolved",
        ),
        pytest.param(
            "anything",
            {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            id="free JSON says nothing of its properties",
        ),
        pytest.param(
            "wheels",
            {"type": "array", "maxItems": 4, "items": A_WHEEL, "x-kubernetes-list-type": "atomic"},
            id="extensions of a list pass",
        ),
    ],
)
def test_build_schema_writes(field: str, wanted: object) -> None:
    assert build_schema(Cart)["properties"][field] == wanted


def test_build_schema_says_no_titles_and_no_references() -> None:
    text = str(build_schema(Cart))
    assert "$ref" not in text
    assert "'title': 'Cart'" not in text


class Either(ApiModel):
    """Two types for one field."""

    value: int | str


class Odd(ApiModel):
    """A keyword that CRDs do not know."""

    value: Annotated[int, Field(multiple_of=2)]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param(Either, "Either.value: a union of 2 types", id="a union"),
        pytest.param(Odd, "Odd.value: multipleOf cannot be said in a CRD", id="an unknown keyword"),
    ],
)
def test_build_schema_refuses(model: type[ApiModel], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        build_schema(model)
