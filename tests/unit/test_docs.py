"""The documentation leads where it says, and its first page to all others."""

import re
from pathlib import Path

import pytest

from tests.documents import HERE, NAMES, OURS, blocks, manifests

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]*)?\)")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def links(page: Path) -> list[tuple[str, str]]:
    """Return target and anchor of each link of a page to a file of this repository."""
    found = LINK.findall(page.read_text())
    return [(target, anchor) for target, anchor in found if "://" not in target and not target.startswith("mailto:")]


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {f"#{heading.replace(' ', '-')}" for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    lost = []
    for target, anchor in links(page):
        file = (page.parent / target).resolve() if target else page
        is_there = file.exists() and (not anchor or file.suffix != ".md" or anchor in anchors(file))
        if not is_there:
            lost.append(target + anchor)
    assert lost == []


def test_first_page_of_the_documentation_names_all_others() -> None:
    named = {target for target, _ in links(ROOT / "docs" / "README.md")}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - named == {"README.md"}


@pytest.mark.parametrize("name", NAMES)
def test_yaml_in_the_documentation_is_whole_manifests(name: str) -> None:
    assert all(one.get("apiVersion") and one.get("kind") for one in manifests(name)), "readers copy what they see"
    others = [HERE.sub("", text) for language, text in blocks(name) if language != "yaml"]
    assert [text for text in others if f"apiVersion: {OURS}" in text] == [], "mark it as yaml, so that it is applied"
