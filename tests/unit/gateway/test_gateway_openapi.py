"""What the API's own description must say of every operation."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentsessions.gateway.app import create_api
from agentsessions.gateway.examples import EXAMPLES
from agentsessions.gateway.openapi import operations
from agentsessions.gateway.resource_bodies import SessionCreate


def test_every_number_in_an_address_has_a_bound_that_databases_take() -> None:
    parameters = [
        (f"{method} {path} {parameter['name']}", parameter["schema"])
        for path, method, operation in operations(create_api().openapi())
        for parameter in operation.get("parameters", ())
        if parameter["schema"].get("type") == "integer"
    ]
    assert parameters
    assert [name for name, schema in parameters if schema.get("maximum", 2**64) >= 2**63] == []


@pytest.mark.parametrize("operation_id", EXAMPLES)
def test_examples_of_a_body_are_what_its_schema_allows(operation_id: str) -> None:
    document = create_api().openapi()
    found: dict[str, Any] = {one["operationId"]: one for _, _, one in operations(document)}
    body = found[operation_id]["requestBody"]["content"]["application/json"]
    assert list(body["examples"]) == list(EXAMPLES[operation_id])
    validator = Draft202012Validator({**document, **body["schema"]})
    for name, example in body["examples"].items():
        assert [error.message for error in validator.iter_errors(example["value"])] == [], name


def test_examples_of_sessions_are_sessions() -> None:
    for example in EXAMPLES["createSession"].values():
        SessionCreate.model_validate(example)
