"""The README leads to every page of docs/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def test_readme_links_every_page_of_docs() -> None:
    linked = {(ROOT / path).resolve() for path, _ in LINK.findall((ROOT / "README.md").read_text())}
    missing = [page.name for page in sorted((ROOT / "docs").glob("*.md")) if page.resolve() not in linked]
    assert missing == [], "README.md, Read on, wants a link to each page of docs/"
