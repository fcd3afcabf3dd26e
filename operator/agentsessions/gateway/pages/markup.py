"""Markdown of strangers as HTML that can do nothing: no scripts, no styles, no images, links that tell nobody."""

from typing import Final

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

MOST_CHARACTERS: Final = 100_000
"""Longer texts are shown as they are: nobody reads them, and parsing them takes time."""
TAGS: Final = frozenset(
    "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p pre strong table tbody td th thead tr ul".split()  # noqa: SIM905
)
ATTRIBUTES: Final = {"a": {"href"}, "ol": {"start"}, "*": set[str]()}
"""By tag; without `*` the sanitiser leaves `title` and `lang` everywhere."""
SCHEMES: Final = frozenset({"http", "https", "mailto"})

_MARKDOWN: Final = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
_MARKDOWN.disable("image")


def to_html(text: str) -> Markup:
    """Return a text as HTML that is safe wherever a paragraph may be."""
    if len(text) > MOST_CHARACTERS:
        return Markup("<pre>{}</pre>").format(text)
    html = nh3.clean(
        _MARKDOWN.render(text),
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        url_schemes=set(SCHEMES),
        link_rel="noopener noreferrer nofollow",
    )
    return Markup(html)  # noqa: S704 - cleaned in the line before
