"""Every manifest that the documentation shows is one that the API server takes, as it stands there (dry run)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.integration.crds_chart import private_policies
from tests.integration.crds_cluster import ROOT, Kubectl, fresh_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HERE = re.compile(r"<<'?END'?\n(.*?)^END$", re.DOTALL | re.MULTILINE)
"""A manifest in a command."""
OURS = "agentsessions.dev/"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Give language and content of each block of a page."""
    for found in FENCE.finditer((ROOT / page).read_text()):
        yield found.group(1), found.group(2)


def manifests(page: str) -> list[dict[str, Any]]:
    texts = [text for language, text in blocks(page) if language == "yaml"]
    texts += [text for language, block in blocks(page) if language != "yaml" for text in HERE.findall(block)]
    return [one for text in texts for one in yaml.safe_load_all(text)]


NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
WITH_MANIFESTS = [name for name in NAMES if manifests(name)]


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-docs") as kubectl:
        bundle = private_policies(kubectl.namespace)
        kubectl("create", "--filename", "-", manifest=bundle)
        try:
            yield kubectl
        finally:
            kubectl.run("delete", "--filename", "-", manifest=bundle)


@pytest.mark.parametrize("name", NAMES)
def test_yaml_in_the_documentation_is_whole_manifests(name: str) -> None:
    assert all(one.get("apiVersion") and one.get("kind") for one in manifests(name)), "readers copy what they see"
    others = [HERE.sub("", text) for language, text in blocks(name) if language != "yaml"]
    assert [text for text in others if f"apiVersion: {OURS}" in text] == [], (
        "mark them as yaml, so that they are applied"
    )


@pytest.mark.parametrize("name", WITH_MANIFESTS)
def test_manifests_of_a_page_are_accepted(kubectl: Kubectl, name: str) -> None:
    found = [one for one in manifests(name) if one["apiVersion"].startswith(OURS)]
    for one in found:
        one["metadata"].pop("namespace", None)  # that of the test has the chart's policies
        said = kubectl("apply", "--server-side", "--dry-run=server", "--filename", "-", manifest=one)
        assert "serverside-applied (server dry run)" in said
