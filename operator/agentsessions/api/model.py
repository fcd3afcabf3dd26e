"""The one base of every API model: frozen, camelCase outside, unknown fields refused."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

MAX_JSON_DEPTH: Final = 64
"""Levels of an object without a schema. A CRD cannot bound them, and the API server takes ten thousand."""


class ApiModel(BaseModel):
    """A value of the API. The string under a field is its description everywhere."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    def to_json(self) -> dict[str, object]:
        """Return the JSON form: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _shallow(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what encoders cannot write again."""
    level: list[Any] = [value]
    for _ in range(MAX_JSON_DEPTH):
        level = [item for node in level for item in (node.values() if isinstance(node, dict) else node)]
        level = [item for item in level if isinstance(item, dict | list)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep; nest less, or pass it as text")


JsonObject = Annotated[dict[str, Any], AfterValidator(_shallow)]
"""An object of any form."""
