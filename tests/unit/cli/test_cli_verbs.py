"""Every verb is proven on a real cluster; and what verbs have in common they have under one name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from agentsessions.cli.main import load, shared_params
from agentsessions.cli.table import VERBS
from tests.e2e.verbs import PROOFS
from tests.unit.cli.conftest import ROOT

FAILS = re.compile(r"\.refused\(|code=")
SPARE = frozenset({"-f --file", "-f --follow"})
"""The one short flag with two meanings, both kubectl's: `create -f FILE`, `logs -f`."""


def commands() -> Iterator[tuple[str, Any]]:
    for verb in VERBS.values():
        command = load(verb)
        inner = getattr(command, "commands", None)
        if inner is None:
            yield verb.name, command
        else:
            yield from ((f"{verb.name} {name}", one) for name, one in inner.items())


COMMANDS = dict(commands())
SHARED = {param.name for param in shared_params()}


@cache
def functions_of(module: str) -> dict[str, str]:
    """Return the source of each function of a module of end-to-end tests, with its decorators."""
    text = (ROOT / "tests" / "e2e" / f"{module}.py").read_text()
    lines = text.splitlines()
    found = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef):
            begin = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            found[node.name] = "\n".join(lines[begin - 1 : node.end_lineno])
    return found


def test_every_verb_has_a_row_in_the_table_of_end_to_end_tests() -> None:
    assert list(PROOFS) == list(COMMANDS), "tests/e2e/verbs.py wants a row for each verb, in the program's order"


@pytest.mark.requirement("OPS-5")
@pytest.mark.parametrize("verb", PROOFS)
def test_tests_of_a_verb_are_there_and_use_it(verb: str) -> None:
    spoken = ", ".join(f'"{word}"' for word in verb.split())
    for proof in (PROOFS[verb].success, PROOFS[verb].failure):
        module, _, name = proof.partition("::")
        assert name in functions_of(module), f"{verb}: there is no {proof}"
        assert spoken in functions_of(module)[name], f"{proof} does not use {verb}"
    module, _, name = PROOFS[verb].failure.partition("::")
    assert FAILS.search(functions_of(module)[name]), f"{verb}: nothing fails in {name}"


def options() -> Iterator[tuple[str, str, str]]:
    """Yield (verb, names, help) of each option that a verb has of its own."""
    for verb, command in COMMANDS.items():
        for param in command.params:
            if param.param_type_name == "option" and param.name not in SHARED and param.name != "help":
                yield verb, " ".join(sorted(param.opts, key=len)), param.help or ""


def test_flag_has_the_same_forms_wherever_it_is() -> None:
    forms: dict[str, set[str]] = {}
    for _, names, _ in options():
        for name in names.split():
            forms.setdefault(name, set()).add(names)
    assert {name: found for name, found in forms.items() if len(found) > 1 and found != SPARE} == {}


def test_every_option_says_in_a_sentence_what_it_is() -> None:
    wrong = [(verb, names) for verb, names, text in options() if not re.fullmatch(r"[A-Z0-9`a-z].*\.", text)]
    assert wrong == []
