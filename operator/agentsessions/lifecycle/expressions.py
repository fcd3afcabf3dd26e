"""CEL expressions of policies: compiled with types, evaluated within bounds. Pure.

The checks of the compiler find names and types that do not fit, so that a policy's status can tell them. Evaluation is
bounded by what goes in, that is the length of an expression, the comprehensions in it and the size of a call's
arguments, and by the library's own budget of iterations. That is not enough against somebody who means harm: who
evaluates what strangers wrote does so in a process that can be ended.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from cel_expr_python import cel

from agentsessions.api.v1alpha1.policy import MAX_EXPRESSION

MAX_COMPREHENSIONS: Final = 2
MAX_ARGUMENT_BYTES: Final = 65_536
MAX_ARGUMENT_VALUES: Final = 1000
"""Values in a call's arguments."""
COMPREHENSION: Final = re.compile(r"\.\s*(?:all|exists|exists_one|existsOne|map|filter)\s*\(")

_DYN: Final = cel.Type.DYN


class ExpressionError(ValueError):
    """An expression that cannot be compiled or evaluated; the text says why."""


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Any:
    """Return an expression, compiled.

    Raises:
        ExpressionError: It is no CEL, names what there is not, is not true or false, or is too costly.
    """
    if len(text) > MAX_EXPRESSION:
        raise ExpressionError(f"it has {len(text)} characters, {MAX_EXPRESSION} are allowed")
    found = len(COMPREHENSION.findall(text))
    if found > MAX_COMPREHENSIONS:
        raise ExpressionError(f"it has {found} of all, exists, exists_one, map and filter; 2 are allowed")
    try:
        expression = _environment().compile(text)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExpressionError(_first_line(error)) from error
    kind = expression.return_type()
    if cel.Type.BOOL != kind != _DYN:  # types have no hash
        raise ExpressionError(f"it gives {kind.name()}, and true or false is wanted")
    return expression


@lru_cache(maxsize=1)
def _environment() -> Any:
    """Return what expressions may name; made when the first policy needs it, as it loads more of the library."""
    an_object = cel.Type.Map(cel.Type.STRING, _DYN)
    return cel.NewEnv(
        variables={
            "tool": cel.Type.STRING,
            "arguments": an_object,
            "agent": cel.Type.STRING,
            "session": an_object,
            "usage": cel.Type.Map(cel.Type.STRING, cel.Type.INT),
            "host": cel.Type.STRING,
            "dataSources": cel.Type.List(cel.Type.STRING),
        }
    )


def evaluate(text: str, values: Mapping[str, Any]) -> bool:
    """Return whether an expression holds.

    Raises:
        ExpressionError: It cannot be told: it fails on these values.
    """
    try:
        result = compile_expression(text).eval(data=values)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ExpressionError(_first_line(error)) from error
    if result.type() != cel.Type.BOOL:
        raise ExpressionError(str(result.value()) if result.type() == cel.Type.ERROR else "it is not true or false")
    return bool(result.value())


def count_values(value: object) -> int:
    """Return how many values a JSON value holds, itself included."""
    total, level = 0, [value]
    while level:
        one = level.pop()
        total += 1
        if isinstance(one, dict):
            level.extend(one.values())
        elif isinstance(one, list):
            level.extend(one)
    return total


def _first_line(error: Exception) -> str:
    return str(error).removeprefix("INVALID_ARGUMENT: ").partition("\n")[0][:300]
