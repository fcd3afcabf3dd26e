"""What the API's own description must say of every operation."""

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from agentsessions.gateway.app import create_api
from agentsessions.gateway.examples import EXAMPLES
from agentsessions.gateway.openapi import operations
from agentsessions.gateway.resource_bodies import SessionCreate

DOCS = Path(__file__).parents[3] / "docs"
COMMAND = re.compile(r"""\bapi (?:'([^']*)'|"([^"]*)"|(\S+))([^|\n]*)""")
METHOD = re.compile(r"-X ([A-Z]+)|(--json)")
ELSEWHERE = {
    "importSession": "operations-journal.md",
    "approveCall": "approvals.md",
    "denyCall": "approvals.md",
    "settleCall": "approvals.md",
    "runCallAgain": "approvals.md",
    "verifyAudit": "identity.md",
}
"""Operations that pages of their own tell about."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """What the API says of itself."""
    found: dict[str, Any] = create_api().openapi()
    return found


def test_every_number_in_an_address_has_a_bound_that_databases_take(document: dict[str, Any]) -> None:
    parameters = [
        (f"{method} {path} {parameter['name']}", parameter["schema"])
        for path, method, operation in operations(document)
        for parameter in operation.get("parameters", ())
        if parameter["schema"].get("type") == "integer"
    ]
    assert parameters
    assert [name for name, schema in parameters if schema.get("maximum", 2**64) >= 2**63] == []


@pytest.mark.parametrize("operation_id", EXAMPLES)
def test_examples_of_a_body_are_what_its_schema_allows(document: dict[str, Any], operation_id: str) -> None:
    found: dict[str, Any] = {one["operationId"]: one for _, _, one in operations(document)}
    body = found[operation_id]["requestBody"]["content"]["application/json"]
    assert list(body["examples"]) == list(EXAMPLES[operation_id])
    validator = Draft202012Validator({**document, **body["schema"]})
    for name, example in body["examples"].items():
        assert [error.message for error in validator.iter_errors(example["value"])] == [], name


def test_examples_of_sessions_are_sessions() -> None:
    for example in EXAMPLES["createSession"].values():
        SessionCreate.model_validate(example)


def commands_of_the_page() -> set[tuple[str, str]]:
    """Return method and path of each request on the page of commands; what differs from run to run is `*`."""
    found = set()
    for quoted, double, plain, rest in COMMAND.findall((DOCS / "http.md").read_text()):
        path = re.sub(r"\$[A-Z]+", "*", (quoted or double or plain).partition("?")[0])
        method, is_json = METHOD.search(rest).groups() if METHOD.search(rest) else ("", "")
        found.add((method or ("POST" if is_json else "GET"), path))
    return found


def test_the_page_of_commands_has_one_for_each_thing_that_a_user_does(document: dict[str, Any]) -> None:
    commands = commands_of_the_page()
    for path, method, operation in operations(document):
        if not path.startswith("/api/v1/"):
            continue
        short = path.removeprefix("/api/v1/")
        if page := ELSEWHERE.get(operation["operationId"]):
            last = short.rpartition("/")[2]
            assert last in (DOCS / page).read_text(), f"{page} tells about {path}"
            continue
        pattern = re.compile(re.sub(r"\{[a-z]+\}", "[^/]+", short))
        is_there = any(done == method.upper() and pattern.fullmatch(address) for done, address in commands)
        assert is_there, f"docs/http.md has a command for {method.upper()} {path}"
