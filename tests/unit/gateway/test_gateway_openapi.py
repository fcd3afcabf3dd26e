"""What the API's own description must say of every operation."""

from agentsessions.gateway.app import create_api
from agentsessions.gateway.openapi import operations


def test_every_number_in_an_address_has_a_bound_that_databases_take() -> None:
    parameters = [
        (f"{method} {path} {parameter['name']}", parameter["schema"])
        for path, method, operation in operations(create_api().openapi())
        for parameter in operation.get("parameters", ())
        if parameter["schema"].get("type") == "integer"
    ]
    assert parameters
    assert [name for name, schema in parameters if schema.get("maximum", 2**64) >= 2**63] == []
