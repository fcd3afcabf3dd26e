"""Every requirement that is done has a test that names it, and no test names one that does not exist."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.requirements import ALL, DONE, PARTIAL

TESTS = Path(__file__).resolve().parents[1]


def named_requirements() -> Iterator[str]:
    """Yield the id of each `@pytest.mark.requirement("ID")` in the test tree, read and not imported."""
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.requirement":
                argument = node.args[0]
                assert isinstance(argument, ast.Constant), (
                    f"{path.name}:{node.lineno} names its requirement by a variable"
                )
                yield str(argument.value)


def test_no_test_names_an_unknown_requirement() -> None:
    assert set(named_requirements()) - ALL == set()


def test_every_requirement_that_a_test_names_is_judged() -> None:
    assert set(named_requirements()) - DONE - PARTIAL.keys() == set(), "say in tests/requirements.py what is missing"


def test_every_requirement_that_is_done_has_a_test() -> None:
    assert DONE | PARTIAL.keys() <= ALL
    assert DONE.isdisjoint(PARTIAL)
    assert DONE - set(named_requirements()) == set()
