"""Sizes and places that keep the code readable; ruff holds what it can, this the rest."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ROOT / "operator" / "agentsessions"
MIGRATIONS = PRODUCT / "journal" / "migrations"
"""A migration is a list of tables, however long."""
MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 40
"""Without its docstring."""
PLACES = {
    "a registry's host": re.compile(
        r"\b(?:[\w-]+\.)*(?:docker\.io|docker\.com|ghcr\.io|gcr\.io|quay\.io|registry\.k8s\.io|pkg\.dev|amazonaws\.com|azurecr\.io)"
    ),
    "a path of one machine": re.compile(r"(?<![\w.])/(?:home|root|Users|work|tmp/\w+|mnt)/\w"),
}


def test_source_root_is_no_package() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists(), "`import operator` would find our folder"


def test_modules_are_short() -> None:
    modules = (path for path in PRODUCT.rglob("*.py") if not path.is_relative_to(MIGRATIONS))
    lengths = {path: len(path.read_text().splitlines()) for path in modules}
    assert lengths
    assert {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > MOST_LINES_OF_A_MODULE} == {}


def test_functions_are_short() -> None:
    long = []
    for path in PRODUCT.rglob("*.py"):
        if path.is_relative_to(MIGRATIONS):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                docstring = len((ast.get_docstring(node) or "").splitlines())
                lines = node.end_lineno - node.lineno + 1 - docstring
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {lines} lines")
    assert long == []


def test_product_names_no_registry_and_no_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number} names {what}: {line.strip()}"
        for path in PRODUCT.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for what, pattern in PLACES.items()
        if pattern.search(line)
    ]
    assert found == []
