"""Codes are one table: each is in it, is raised somewhere, and is written nowhere else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsessions import gateway
from agentsessions.api.reasons import RefusalCode
from agentsessions.gateway.problem_codes import FAULTS, PROBLEMS, REFUSALS, Code, ProblemCode
from agentsessions.gateway.problems import ProblemError

GATEWAY = Path(str(gateway.__file__)).parent
TABLE = GATEWAY / "problem_codes.py"
BY_CODE = {"ProblemError", "record_refusal"}
"""What takes a code as its first argument."""


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for path in GATEWAY.rglob("*.py"):
        if path != TABLE:
            yield from ((path, node) for node in ast.walk(ast.parse(path.read_text())))


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@pytest.mark.requirement("OPS-8")
def test_each_code_is_in_the_table() -> None:
    assert set(PROBLEMS) == set(ProblemCode)
    assert set(REFUSALS) == set(RefusalCode)


@pytest.mark.parametrize("code", [*PROBLEMS, *REFUSALS, *FAULTS], ids=repr)
def test_problem_has_status_and_title_of_its_code(code: Code) -> None:
    problem = ProblemError(code, "It failed.")
    assert 400 <= problem.status < 600
    assert (problem.code, bool(problem.title)) == (code.value, True)


def test_each_code_is_raised_somewhere() -> None:
    used = {
        node.attr
        for _, node in nodes()
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ProblemCode"
    }
    assert used == {code.name for code in ProblemCode}


def test_no_problem_is_raised_by_a_literal() -> None:
    literal = [
        f"{path.relative_to(GATEWAY)}:{node.lineno}"
        for path, node in nodes()
        if isinstance(node, ast.Call) and name_of(node.func) in BY_CODE and isinstance(node.args[0], ast.Constant)
    ]
    assert literal == []
