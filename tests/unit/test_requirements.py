"""Every requirement that is done has a test that names it, and no test names one that does not exist."""

import ast
from functools import cache
from pathlib import Path

from tests.requirements import ALL, DONE, PARTIAL

TESTS = Path(__file__).resolve().parents[1]


@cache
def named_requirements() -> frozenset[str]:
    """Return the id of each `@pytest.mark.requirement("ID")` in the test tree, read and not imported."""
    named = set()
    for path in TESTS.rglob("test_*.py"):
        text = path.read_text()
        if "mark.requirement" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "requirement"
                and ast.unparse(node.func) == "pytest.mark.requirement"
            ):
                argument = node.args[0]
                assert isinstance(argument, ast.Constant), (
                    f"{path.name}:{node.lineno} names its requirement by a variable"
                )
                named.add(str(argument.value))
    return frozenset(named)


def test_no_test_names_an_unknown_requirement() -> None:
    assert named_requirements() - ALL == set()


def test_every_requirement_that_a_test_names_is_judged() -> None:
    assert named_requirements() - DONE - PARTIAL.keys() == set(), "say in tests/requirements.py what is missing"


def test_every_requirement_that_is_done_has_a_test() -> None:
    assert DONE | PARTIAL.keys() <= ALL
    assert DONE.isdisjoint(PARTIAL)
    assert DONE - named_requirements() == set()
