"""Whether the arguments that a model wrote fit a tool's schema. Pure, and bounded whatever schema and arguments are.

A schema of a stranger's server is hostile: it is never fetched from elsewhere, its patterns are left to the server
(they may take for ever), and `why_unusable` refuses one that would take too long to check against.
"""

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend
from referencing import Registry

from agentsessions.api.names import MAX_TOOL_ARGUMENT_CHARACTERS

MAX_MESSAGE_CHARACTERS: Final = 1000
"""A complaint repeats the value, which may be long."""
MAX_FAULTS: Final = 50
"""So many are looked at to find the one that says most."""
MAX_CHECKS: Final = 1_000_000
"""Characters of schema times values of arguments: what a check may take is in proportion."""

_Validator: Final = extend(  # type: ignore[no-untyped-call]  # the library's stubs leave it open
    Draft202012Validator,
    {"pattern": None, "patternProperties": None, "uniqueItems": None, "$dynamicRef": None},
)


class BadArgumentsError(Exception):
    """Arguments that do not fit; the text tells the model what to change."""


def read_arguments(name: str, parameters: Mapping[str, Any], arguments: str) -> dict[str, Any]:
    """Return the arguments that a model wrote, when they fit the tool's schema.

    Args:
        name: Of the tool.
        parameters: JSON schema of an object.
        arguments: As the model wrote them.

    Raises:
        BadArgumentsError: They do not; the text tells the model what to change.
    """
    if len(arguments) > MAX_TOOL_ARGUMENT_CHARACTERS:
        raise BadArgumentsError(
            f"{name}: the arguments have {len(arguments)} characters, {MAX_TOOL_ARGUMENT_CHARACTERS} are allowed"
        )
    try:
        parsed = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        raise BadArgumentsError(f"{name}: the arguments are not JSON: {error}") from error
    size, values = len(json.dumps(parameters, default=str)), _count(parsed)
    if size * values > max(MAX_CHECKS, 100 * size):
        raise BadArgumentsError(
            f"{name}: the arguments hold {values} values, too many to check against its schema; send fewer"
        )
    try:
        wrong = _first_fault(parameters, parsed)
    except RecursionError as error:
        raise BadArgumentsError(f"{name}: the arguments are nested too deeply") from error
    if wrong is not None:
        told = wrong.message[:MAX_MESSAGE_CHARACTERS]
        raise BadArgumentsError(f"{name}: the arguments do not fit its schema: {wrong.json_path}: {told}")
    if not isinstance(parsed, dict):
        raise BadArgumentsError(f"{name}: the arguments do not fit its schema: they are not an object")
    return parsed


def _count(value: object) -> int:
    """Return how many values a value holds, itself included."""
    found, waiting = 0, [value]
    while waiting:
        one = waiting.pop()
        found += 1
        if isinstance(one, dict | list):
            waiting.extend(one.values() if isinstance(one, dict) else one)
    return found


def _first_fault(parameters: Mapping[str, Any], parsed: object) -> ValidationError | None:
    # Without a registry of our own, references to other places would be fetched.
    validator = _Validator(parameters, registry=Registry())
    found: ValidationError | None = best_match(islice(validator.iter_errors(parsed), MAX_FAULTS))
    return found
