"""What the pages of the documentation show: blocks of text, and the manifests among them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
HERE = re.compile(r"<<'?END'?\n(.*?)^END$", re.DOTALL | re.MULTILINE)
"""A manifest in a command."""
OURS = "agentsessions.dev/"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Give language and content of each block of a page."""
    for found in FENCE.finditer((ROOT / page).read_text()):
        yield found.group(1), found.group(2)


def manifests(page: str) -> list[dict[str, Any]]:
    """Return the manifests that a page shows, as blocks of their own or within a command."""
    texts = [text for language, text in blocks(page) if language == "yaml"]
    texts += [text for language, block in blocks(page) if language != "yaml" for text in HERE.findall(block)]
    return [one for text in texts for one in yaml.safe_load_all(text)]
