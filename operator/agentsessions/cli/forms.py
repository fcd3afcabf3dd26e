"""Output in the form that `-o` asks for."""

from typing import Any

from agentsessions.cli.options import DataOutput, Output
from agentsessions.cli.terminal import print_json, print_yaml, say
from agentsessions.client.decode import encode


def print_data(value: Any, form: Output | DataOutput | None) -> bool:
    """Print a value as JSON or YAML, if that is the form; return whether it is."""
    match form:
        case Output.JSON | DataOutput.JSON:
            print_json(encode(value))
        case Output.YAML | DataOutput.YAML:
            print_yaml(encode(value))
        case _:
            return False
    return True


def print_object(thing: dict[str, Any], form: Output | DataOutput | None) -> None:
    """Print an object in the form that was asked for; its kind and name by default."""
    if not print_data(thing, form):
        say(f"agentsession/{thing['metadata']['name']}")
