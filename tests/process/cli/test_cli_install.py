"""What people install is light: the command line and the client need nothing of what only servers need."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pytest

from tests.unit.cli.conftest import ROOT

IMPORT_ALL = """
import importlib, pkgutil, sys
import {package}
for found in pkgutil.walk_packages({package}.__path__, "{package}."):
    importlib.import_module(found.name)
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
MODULES = {"pyyaml": "yaml"}


def modules_of(*lists: list[str]) -> set[str]:
    """Return the modules of requirements, without their extras and versions."""
    names = {re.split(r"[^\w-]", one)[0] for found in lists for one in found}
    return {MODULES.get(name, name).replace("-", "_") for name in names}


@pytest.mark.parametrize("package", ["agentsessions.client", "agentsessions.cli"])
def test_package_imports_nothing_that_only_servers_have(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = project["dependencies"] + (extras["cli"] if package.endswith("cli") else [])
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL.format(package=package)],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT / "operator"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert set(done.stdout.split()) & (modules_of(extras["server"], extras["cli"]) - modules_of(wanted)) == set()
