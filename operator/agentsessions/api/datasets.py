"""The content of data sources, read as tables. Pure, and bounded: what is hostile is refused before it costs much.

Every refusal is a `BadDataError` with one of a closed set of codes, and comes before the cells are made, which costs
most. Nothing here opens files or follows names.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, islice
from typing import Any, Final, NoReturn

import orjson

from agentsessions.api.names import MAX_FILES_BYTES
from agentsessions.api.v1alpha1.context import DataFormat

MAX_COLUMNS: Final = 256
MAX_ROWS: Final = 50_000
MAX_CELLS: Final = 500_000
"""Rows times columns: JSON may name 256 columns, and have rows with one of them each."""
MAX_CONTAINERS: Final = 60_000
"""Lists and objects in JSON, rows among them: what takes longest to parse."""
MAX_COLUMN_NAME: Final = 128
MAX_CELL_CHARACTERS: Final = 65_536
MAX_DEPTH: Final = 32
"""Of a value in a JSON row; it is shown to queries as JSON text."""
MAX_INTEGER: Final = 2**63 - 1

Cell = str | int | float | None
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_HARD_ESCAPE: Final = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
"""What JSON may write and text does not hold: NUL, and half of a surrogate pair."""
_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class DataProblem(StrEnum):
    """What is wrong with the content of a data source."""

    TOO_LARGE = "TooLarge"
    NOT_TEXT = "NotText"
    NOT_CSV = "NotCSV"
    NOT_JSON = "NotJSON"
    NOT_A_TABLE = "NotATable"
    BAD_COLUMN = "BadColumn"
    TOO_DEEP = "TooDeep"


class BadDataError(Exception):
    """Content that is no table, or not one of ours; the text says where, and what is allowed."""

    def __init__(self, problem: DataProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Column:
    """A column, and what all its cells are."""

    name: str
    affinity: str
    """INTEGER, REAL or TEXT."""


@dataclass(frozen=True, slots=True)
class Table:
    """A data source's rows."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def read_table(content: bytes, form: DataFormat) -> Table:
    """Return the table that `content` holds.

    Raises:
        BadDataError: It does not hold one.
    """
    text = _decode(content)
    names, rows = _read_csv(text) if form is DataFormat.CSV else _read_json(text)
    return _type(names, rows, is_text=form is DataFormat.CSV)


def _decode(content: bytes) -> str:
    if len(content) > MAX_FILES_BYTES:
        _refuse(DataProblem.TOO_LARGE, f"it has {len(content):,} bytes; at most {MAX_FILES_BYTES:,} fit")
    if b"\0" in content:
        _refuse(DataProblem.NOT_TEXT, f"byte {content.index(0)} is NUL; give UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(DataProblem.NOT_TEXT, f"byte {error.start} is not UTF-8; give UTF-8 text")


def _read_csv(text: str) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    lines = _csv_lines(text)
    names = next(lines, [])
    _check_width(names)
    _check_names(names)
    # What can be asked of all rows at once is: a loop over them takes twice as long.
    rows = list(islice(filter(None, lines), MAX_ROWS + 1))
    if len(rows) > MAX_ROWS:
        _refuse_rows()
    if set(map(len, rows)) - {len(names)}:
        number, row = next((number, row) for number, row in enumerate(rows, start=2) if len(row) != len(names))
        _refuse(DataProblem.NOT_A_TABLE, f"row {number} has {len(row)} cells, and the first line names {len(names)}")
    if max(map(len, chain.from_iterable(rows)), default=0) > MAX_CELL_CHARACTERS:
        for number, row in enumerate(rows, start=1):
            for name, cell in zip(names, row, strict=True):
                if len(cell) > MAX_CELL_CHARACTERS:
                    _refuse_cell(name, number, len(cell))
    return names, rows


def _csv_lines(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        _refuse(DataProblem.NOT_CSV, f"it is not CSV: {error}")


def _read_json(text: str) -> tuple[Sequence[str], Sequence[Sequence[Cell]]]:
    opened = text.count("[") + text.count("{")
    if opened > MAX_CONTAINERS:
        _check_containers(text)
    items = _parse_json(text)
    if not isinstance(items, list) or not items:
        _refuse(
            DataProblem.NOT_A_TABLE, "give a list of objects, one for each row; a table without rows has no columns"
        )
    if len(items) > MAX_ROWS:
        _refuse_rows()
    if set(map(type, items)) != {dict}:
        number = next(number for number, item in enumerate(items, start=1) if not isinstance(item, dict))
        _refuse(DataProblem.NOT_A_TABLE, f"item {number} is not an object")
    names: dict[str, None] = dict.fromkeys(chain.from_iterable(items))
    _check_width(names)
    _check_names(list(names))
    if len(names) * len(items) > MAX_CELLS:
        _refuse(DataProblem.TOO_LARGE, f"{len(items):,} rows of {len(names)} columns; at most {MAX_CELLS:,} cells fit")
    if opened > len(items) + 1:
        _check_depth(_brackets(text))
    _check_texts(items, has_hard=_HARD_ESCAPE.search(text) is not None)
    return list(names), [tuple(_to_cell(item.get(name)) for name in names) for item in items]


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        _refuse(DataProblem.TOO_DEEP, f"it is nested too deeply; a value may have {MAX_DEPTH} levels")
    except ValueError as error:
        _refuse(DataProblem.NOT_JSON, f"it is not JSON: {str(error)[:200]}")


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _to_cell(value: Any) -> Cell:
    match value:
        case None | float() | str():
            return value
        case bool():
            return int(value)
        case int():
            return value if -MAX_INTEGER <= value <= MAX_INTEGER else str(value)
    return _show(value)


def _brackets(text: str) -> bytes:
    """Return the brackets of JSON without those in texts, and as if all were square.

    What is no JSON may come out wrong: parsing ends before the first such place.
    """
    without_escapes = text.encode().replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(without_escapes.split(b'"')[::2]).translate(_ONE_KIND, _NO_BRACKETS)


def _check_containers(text: str) -> None:
    brackets = _brackets(text)
    opened = brackets.count(b"[")
    if opened > MAX_CONTAINERS:
        _check_depth(brackets)
        _refuse(
            DataProblem.TOO_LARGE,
            f"it holds {opened:,} lists and objects, with its rows; at most {MAX_CONTAINERS:,} fit",
        )


def _check_depth(brackets: bytes) -> None:
    """Refuse JSON with a value that is too deep: brackets that are still there when each level was taken off once."""
    for _ in range(MAX_DEPTH + 2):  # the list of rows, and a row
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return
    _refuse(DataProblem.TOO_DEEP, f"a value has more than {MAX_DEPTH} levels")


def _check_texts(items: Sequence[dict[str, Any]], *, has_hard: bool) -> None:
    """Refuse texts that are too long, or that hold what no text does."""
    for number, item in enumerate(items, start=1):
        for name, value in item.items():
            if value.__class__ is str:
                if len(value) > MAX_CELL_CHARACTERS:
                    _refuse_cell(name, number, len(value))
                if has_hard and not _is_storable(value):
                    _refuse(DataProblem.NOT_TEXT, f"column {name[:40]!r} of row {number} holds what is no text")
            elif value.__class__ in {list, dict}:
                _check_shown(name, number, value, has_hard=has_hard)


def _show(value: Any) -> str:
    """Return a list or an object as JSON."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a number of more than 64 bits, or half of a surrogate pair
        return _COMPACT.encode(value)


def _check_shown(name: str, number: int, value: Any, *, has_hard: bool) -> None:
    """Refuse a list or an object that is too long as JSON, as it is shown."""
    shown = _show(value)
    if len(shown) > MAX_CELL_CHARACTERS:
        _refuse_cell(name, number, len(shown))
    if has_hard and not _is_storable(shown.replace("\\u0000", "\0")):
        _refuse(DataProblem.NOT_TEXT, f"column {name[:40]!r} of row {number} holds what is no text")


def _check_width(names: Sequence[str] | dict[str, None]) -> None:
    if not names:
        _refuse(DataProblem.NOT_A_TABLE, "it names no columns")
    if len(names) > MAX_COLUMNS:
        _refuse(DataProblem.TOO_LARGE, f"it has {len(names):,} columns or more; at most {MAX_COLUMNS} fit")


def _refuse_rows() -> NoReturn:
    _refuse(DataProblem.TOO_LARGE, f"it has more than {MAX_ROWS:,} rows")


def _refuse_cell(name: str, number: int, length: int) -> NoReturn:
    told = f"column {name[:40]!r} of row {number} has {length:,} characters; at most {MAX_CELL_CHARACTERS:,} fit"
    _refuse(DataProblem.TOO_LARGE, told)


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if not name.strip() or len(name) > MAX_COLUMN_NAME or not name.isprintable():
            told = name[:40]
            _refuse(
                DataProblem.BAD_COLUMN,
                f"{told!r} is no name of a column: use 1 to {MAX_COLUMN_NAME} printable characters",
            )
        folded = name.casefold()
        if folded in seen:
            _refuse(DataProblem.BAD_COLUMN, f"column {name[:40]!r} is there twice (case does not count)")
        seen.add(folded)


def _type(names: Sequence[str], rows: Sequence[Sequence[Cell]], *, is_text: bool) -> Table:
    columns, cells = [], []
    for place, name in enumerate(names):
        values = [row[place] for row in rows]
        if is_text:
            values = _from_text([str(value) for value in values])
        columns.append(Column(name, _affinity(values)))
        cells.append(values)
    return Table(tuple(columns), tuple(zip(*cells, strict=True)))


def _from_text(values: list[str]) -> list[Cell]:
    """Read a column of CSV as numbers when all its cells are, an empty one then being no value."""
    for convert in (_to_integer, _to_real):
        try:
            return [convert(value) if value else None for value in values] if any(values) else list(values)
        except ValueError:
            continue
    return list(values)


def _to_integer(text: str) -> int:
    is_plain = text.isascii() and text.removeprefix("-").isdigit() and len(text) < len(str(MAX_INTEGER))
    has_meaning = text.removeprefix("-").startswith("0") and len(text.removeprefix("-")) > 1  # 007 is a name
    if not is_plain or has_meaning:
        raise ValueError(text)
    return int(text)


def _to_real(text: str) -> float:
    if not text.isascii() or not text[-1].isdigit() or not (text[0].isdigit() or text[0] in "-.") or "_" in text:
        raise ValueError(text)
    is_padded = len(text) > 1 and text[0] == "0" and text[1].isdigit()
    if is_padded:
        raise ValueError(text)
    return float(text)


def _is_storable(value: str) -> bool:
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, from a JSON escape
        return False
    return True


def _affinity(values: Sequence[Cell]) -> str:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int}:
        return "INTEGER"
    return "REAL" if kinds and kinds <= {int, float} else "TEXT"


def _refuse(problem: DataProblem, message: str) -> NoReturn:
    raise BadDataError(problem, message)
