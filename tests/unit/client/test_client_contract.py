"""The client's values and the document that the gateway's routes write have the same fields."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from agentsessions.client import figures, values
from agentsessions.client.decode import to_key

SCHEMAS: dict[str, Any] = json.loads((Path(__file__).resolve().parents[3] / "docs" / "openapi.json").read_text())[
    "components"
]["schemas"]

PAIRS = [
    (values.Session, "SessionDetail"),
    (values.SessionItem, "SessionItem"),
    (values.SessionPage, "SessionList"),
    (values.Failure, "ErrorAnswer"),
    (values.Usage, "UsageAnswer"),
    (values.Step, "StepAnswer"),
    (values.StepPage, "StepList"),
    (values.Message, "MessageAnswer"),
    (values.MessagePage, "MessageList"),
    (values.Reply, "ConversationAnswer"),
    (values.Verification, "Verification"),
    (figures.Stats, "StatsAnswer"),
    (figures.Metrics, "MetricsAnswer"),
    (figures.Health, "HealthAnswer"),
    (figures.Performance, "PerformanceAnswer"),
    (figures.Comparison, "Comparison"),
    (figures.Place, "Place"),
    (figures.Side, "Side"),
    (figures.Counts, "Counts"),
    (figures.Imported, "Imported"),
]


@pytest.mark.parametrize(("kind", "schema"), PAIRS, ids=[schema for _, schema in PAIRS])
def test_value_has_the_fields_of_the_document(kind: type, schema: str) -> None:
    assert {to_key(field.name) for field in fields(kind)} == set(SCHEMAS[schema]["properties"])
