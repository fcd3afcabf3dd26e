"""What namespaces spent today, as the gateway tells the operator: `GET /internal/v1/usage?namespace=a&namespace=b`."""

from datetime import date
from typing import Final

from pydantic import Field

from agentsessions.api.model import ApiModel

USAGE_PATH: Final = "/internal/v1/usage"


class Spent(ApiModel):
    """What the sessions of one namespace spent in one UTC day."""

    tokens: int = 0
    """Input plus output tokens."""
    cost_micro_usd: int = Field(default=0, alias="costMicroUSD")
    """Cost in millionths of a US dollar."""


class DayUsage(ApiModel):
    """What each namespace that was asked for spent; nothing, where the journal knows of nothing."""

    day: date
    """The present day, UTC."""
    namespaces: dict[str, Spent]
