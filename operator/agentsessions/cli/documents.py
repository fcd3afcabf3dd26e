"""YAML that somebody else may have written: read in bounds, into what JSON has.

A text of a kilobyte can stand for terabytes (aliases of aliases), and one of a thousand brackets ends the parser's own
stack. So the events are counted first, with each alias as large as what it stands for, and only what is small enough
is made into values.
"""

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple, NoReturn

import yaml

MAX_BYTES: Final = 512 * 1024
MAX_DEPTH: Final = 64
MAX_VALUES: Final = 5_000
"""Keys, values and lists together, each alias as many as what it stands for."""
MAX_CHARACTERS: Final = 2 * MAX_BYTES
"""Of all texts together, likewise."""


class DocumentProblem(StrEnum):
    """What is wrong with a document."""

    TOO_LARGE = "TooLarge"
    TOO_DEEP = "TooDeep"
    NOT_TEXT = "NotText"
    NOT_YAML = "NotYAML"
    NOT_JSON = "NotJSON"


class BadDocumentError(Exception):
    """A text that is no document, or not one of ours; the words say where, and what is allowed."""

    def __init__(self, problem: DocumentProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class _Loader(yaml.CSafeLoader):
    """YAML's values that JSON has, too. A date is a text, as Kubernetes reads it, and so is 1:30, or a long number."""


_NUMBER: Final = re.compile(r"[-+]?[0-9]{1,18}$")
_RESOLVED: Final[Mapping[str, re.Pattern[str] | None]] = {
    "tag:yaml.org,2002:timestamp": None,
    "tag:yaml.org,2002:int": _NUMBER,
    "tag:yaml.org,2002:float": re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?$"),
}
"""What of YAML's own rules is read in another way; None: not at all."""
_Loader.yaml_implicit_resolvers = {
    first: [(tag, wanted) for tag, pattern in resolvers if (wanted := _RESOLVED.get(tag, pattern)) is not None]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
TAGS: Final = frozenset({None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))})
"""All others make what JSON does not have, or take their time over it."""


def read_documents(content: bytes) -> list[Any]:
    """Return the documents of a file, in order, without those that say nothing.

    Raises:
        BadDocumentError: It is not YAML, or larger than what is read.
    """
    if len(content) > MAX_BYTES:
        _refuse(DocumentProblem.TOO_LARGE, f"it has {len(content):,} bytes; at most {MAX_BYTES:,} are read")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(DocumentProblem.NOT_TEXT, f"byte {error.start} is not UTF-8; give UTF-8 text")
    try:
        counter = _Counter()
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            counter.add(event)
        found = [one for one in yaml.load_all(text, Loader=_Loader) if one is not None]
    except yaml.reader.ReaderError as error:
        _refuse(DocumentProblem.NOT_TEXT, f"character {error.position} is none that YAML allows")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = str(getattr(error, "problem", None) or "it cannot be parsed")[:200]
        _refuse(DocumentProblem.NOT_YAML, f"{f'line {mark.line + 1}: ' if mark else ''}{what}")
    except (ValueError, OverflowError, RecursionError) as error:  # of single values: a number of 10,000 digits
        _refuse(DocumentProblem.NOT_YAML, str(error)[:200])
    for one in found:
        _check_json(one)
    return found


class _Size(NamedTuple):
    """How much something stands for."""

    values: int
    characters: int


class _Counter:
    """Refuses a text that stands for more than is read, at the event that is too much."""

    def __init__(self) -> None:
        self._values = 0
        self._characters = 0
        self._anchors: dict[str, _Size] = {}
        self._open: list[tuple[str | None, _Size]] = []
        """The anchor of each list or map whose end has not come yet, and how much there was before it."""

    def add(self, event: Any) -> None:
        """Count an event of the parser."""
        if getattr(event, "tag", None) not in TAGS:
            _refuse(
                DocumentProblem.NOT_JSON, f"{_line(event)}tag {event.tag[:60]} is none that JSON needs: leave it out"
            )
        match event:
            case yaml.ScalarEvent():
                size = _Size(1, len(event.value))
                self._count(event, size)
                if event.anchor:
                    self._anchors[event.anchor] = size
            case yaml.CollectionStartEvent():
                self._begin(event)
            case yaml.CollectionEndEvent():
                self._end()
            case yaml.AliasEvent():
                self._alias(event)
            case yaml.DocumentStartEvent():
                self._anchors.clear()

    def _begin(self, event: Any) -> None:
        if len(self._open) >= MAX_DEPTH:
            _refuse(DocumentProblem.TOO_DEEP, f"{_line(event)}more than {MAX_DEPTH} levels")
        self._anchors.pop(event.anchor, None)  # not known before its end: nothing holds itself
        self._open.append((event.anchor, _Size(self._values, self._characters)))
        self._count(event, _Size(1, 0))

    def _end(self) -> None:
        anchor, before = self._open.pop()
        if anchor:
            self._anchors[anchor] = _Size(self._values - before.values, self._characters - before.characters)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            _refuse(DocumentProblem.NOT_YAML, f"{_line(event)}alias {event.anchor[:40]!r} stands for nothing")
        self._count(event, self._anchors[event.anchor])

    def _count(self, event: Any, size: _Size) -> None:
        self._values += size.values
        self._characters += size.characters
        if self._values > MAX_VALUES or self._characters > MAX_CHARACTERS:
            _refuse(
                DocumentProblem.TOO_LARGE,
                f"{_line(event)}it stands for more than {MAX_VALUES:,} values or {MAX_CHARACTERS:,} characters",
            )


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}: "


def _check_json(value: Any) -> None:
    """Refuse values that JSON does not have; what is looked at was counted before."""
    level = [value]
    while level:
        one = level.pop()
        match one:
            case dict():
                for key in one:
                    if not isinstance(key, str):
                        _refuse(DocumentProblem.NOT_JSON, f"key {str(key)[:40]!r} is no text: put it in quotes")
                level.extend(one.values())
            case list():
                level.extend(one)
            case float() if not math.isfinite(one):
                _refuse(DocumentProblem.NOT_JSON, f"{one} is no number that JSON has")
            case None | str() | bool() | int() | float():
                continue
            case _:
                _refuse(DocumentProblem.NOT_JSON, f"a value of type {type(one).__name__} is none that JSON has")


def _refuse(problem: DocumentProblem, message: str) -> NoReturn:
    raise BadDocumentError(problem, message)
