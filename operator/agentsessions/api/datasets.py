"""The content of data sources, read as tables. Pure, and bounded: what is hostile is refused before it costs much.

Every refusal is a `BadDataError` with one of a closed set of codes. Nothing here opens files or follows names.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NoReturn

from agentsessions.api.names import MAX_FILES_BYTES
from agentsessions.api.v1alpha1.session import DataFormat

MAX_COLUMNS: Final = 256
MAX_ROWS: Final = 50_000
MAX_COLUMN_NAME: Final = 128
MAX_CELL_CHARACTERS: Final = 65_536
MAX_DEPTH: Final = 32
"""Of a value in a JSON row; it is shown to queries as JSON text."""
MAX_INTEGER: Final = 2**63 - 1

Cell = str | int | float | None


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
    return _type(_check_names(names), rows, is_text=form is DataFormat.CSV)


def _decode(content: bytes) -> str:
    if len(content) > MAX_FILES_BYTES:
        _refuse(DataProblem.TOO_LARGE, f"it has {len(content):,} bytes; at most {MAX_FILES_BYTES:,} fit")
    if b"\0" in content:
        _refuse(DataProblem.NOT_TEXT, f"byte {content.index(0)} is NUL; give UTF-8 text")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(DataProblem.NOT_TEXT, f"byte {error.start} is not UTF-8; give UTF-8 text")


def _read_csv(text: str) -> tuple[list[str], list[tuple[Cell, ...]]]:
    lines = _csv_lines(text)
    names = next(lines, [])
    _check_width(names)
    rows: list[tuple[Cell, ...]] = []
    for number, line in enumerate(lines, start=2):
        if not line:
            continue
        if len(line) != len(names):
            _refuse(
                DataProblem.NOT_A_TABLE, f"row {number} has {len(line)} cells, and the first line names {len(names)}"
            )
        _check_room(rows)
        rows.append(tuple(line))
    return names, rows


def _csv_lines(text: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(io.StringIO(text, newline=""), strict=True)
    except csv.Error as error:
        _refuse(DataProblem.NOT_CSV, f"it is not CSV: {error}")


def _read_json(text: str) -> tuple[list[str], list[tuple[Cell, ...]]]:
    items = _parse_json(text)
    if not isinstance(items, list) or not items:
        _refuse(
            DataProblem.NOT_A_TABLE, "give a list of objects, one for each row; a table without rows has no columns"
        )
    names: dict[str, None] = {}
    rows: list[tuple[Cell, ...]] = []
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            _refuse(DataProblem.NOT_A_TABLE, f"item {number} is not an object")
        _check_room(rows)
        rows.append(())
        names.update(dict.fromkeys(item))
        _check_width(names)
    cells = [tuple(_to_cell(item.get(name)) for name in names) for item in items]
    return list(names), cells


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
    _check_depth(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            below
            for one in level
            for below in (one.values() if isinstance(one, dict) else one)
            if isinstance(below, dict | list)
        ]
        if not level:
            return
    _refuse(DataProblem.TOO_DEEP, f"a value has more than {MAX_DEPTH} levels")


def _check_width(names: Sequence[str] | dict[str, None]) -> None:
    if not names:
        _refuse(DataProblem.NOT_A_TABLE, "it names no columns")
    if len(names) > MAX_COLUMNS:
        _refuse(DataProblem.TOO_LARGE, f"it has {len(names):,} columns or more; at most {MAX_COLUMNS} fit")


def _check_room(rows: Sequence[object]) -> None:
    if len(rows) >= MAX_ROWS:
        _refuse(DataProblem.TOO_LARGE, f"it has more than {MAX_ROWS:,} rows")


def _check_names(names: Sequence[str]) -> Sequence[str]:
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
    return names


def _type(names: Sequence[str], rows: Sequence[tuple[Cell, ...]], *, is_text: bool) -> Table:
    columns, cells = [], []
    for place, name in enumerate(names):
        values = [row[place] for row in rows]
        if is_text:
            values = _from_text([str(value) for value in values])
        _check_cells(name, values)
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


def _check_cells(name: str, values: Sequence[Cell]) -> None:
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            continue
        if len(value) > MAX_CELL_CHARACTERS:
            _refuse(
                DataProblem.TOO_LARGE,
                f"column {name[:40]!r} of row {number} has {len(value):,} characters; at most "
                f"{MAX_CELL_CHARACTERS:,} fit",
            )
        if "\0" in value or not _is_storable(value):
            _refuse(DataProblem.NOT_TEXT, f"column {name[:40]!r} of row {number} holds what is no text")


def _is_storable(value: str) -> bool:
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
