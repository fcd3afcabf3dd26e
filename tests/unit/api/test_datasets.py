"""What a data source holds, and what is refused of it."""

from __future__ import annotations

import time
import tracemalloc

import pytest

from agentsessions.api.datasets import (
    MAX_COLUMNS,
    MAX_DEPTH,
    MAX_ROWS,
    BadDataError,
    DataProblem,
    Table,
    read_table,
)
from agentsessions.api.names import MAX_FILES_BYTES
from agentsessions.api.v1alpha1.session import DataFormat
from tests.unit.api.hostile import hostile_file

pytestmark = pytest.mark.requirement("OBJ-8")

MIB = 1024 * 1024
MOST_SECONDS = 0.05


def kinds_of(table: Table) -> dict[str, str]:
    return {column.name: column.affinity for column in table.columns}


def test_csv_columns_are_numbers_only_when_every_cell_is() -> None:
    table = read_table(b'id,amount,code,note\n1,2.5,007,"a, b"\n2,-3,12,\n', DataFormat.CSV)
    assert kinds_of(table) == {"id": "INTEGER", "amount": "REAL", "code": "TEXT", "note": "TEXT"}
    assert table.rows == ((1, 2.5, "007", "a, b"), (2, -3.0, "12", ""))


def test_json_rows_may_lack_columns_and_hold_values_that_are_shown_as_json() -> None:
    table = read_table(b'[{"a":1,"b":true},{"a":2,"c":{"d":[1]}}]', DataFormat.JSON)
    assert kinds_of(table) == {"a": "INTEGER", "b": "INTEGER", "c": "TEXT"}
    assert table.rows == ((1, 1, None), (2, None, '{"d":[1]}'))


@pytest.mark.parametrize(
    ("content", "form", "problem"),
    [
        pytest.param(b"a\n" + b"x" * MAX_FILES_BYTES, "CSV", DataProblem.TOO_LARGE, id="more bytes than fit"),
        pytest.param(b"a,b\n1,\0\n", "CSV", DataProblem.NOT_TEXT, id="a NUL"),
        pytest.param(b"a\n\xff\n", "CSV", DataProblem.NOT_TEXT, id="bytes that are not UTF-8"),
        pytest.param(b'[{"a":"\\u0000"}]', "JSON", DataProblem.NOT_TEXT, id="a NUL behind an escape"),
        pytest.param(b'[{"a":"\\ud800"}]', "JSON", DataProblem.NOT_TEXT, id="half a surrogate pair"),
        pytest.param(b'a\n"x', "CSV", DataProblem.NOT_CSV, id="a quote that never ends"),
        pytest.param(b"", "CSV", DataProblem.NOT_A_TABLE, id="nothing"),
        pytest.param(b"a,b\n1\n", "CSV", DataProblem.NOT_A_TABLE, id="a row that is too short"),
        pytest.param(b"a,A\n1,2\n", "CSV", DataProblem.BAD_COLUMN, id="a column twice"),
        pytest.param(b"a, \n1,2\n", "CSV", DataProblem.BAD_COLUMN, id="a column without a name"),
        pytest.param(b'{"a":1}', "JSON", DataProblem.NOT_A_TABLE, id="one object"),
        pytest.param(b"[1]", "JSON", DataProblem.NOT_A_TABLE, id="a list of numbers"),
        pytest.param(b"[{}]", "JSON", DataProblem.NOT_A_TABLE, id="rows without columns"),
        pytest.param(b'[{"a":NaN}]', "JSON", DataProblem.NOT_JSON, id="a number that JSON does not have"),
        pytest.param(b"[{]", "JSON", DataProblem.NOT_JSON, id="broken JSON"),
        pytest.param(b'[{"a":' + b"9" * 5000 + b"}]", "JSON", DataProblem.NOT_JSON, id="a number too long to read"),
        pytest.param(b"[" * 100_000, "JSON", DataProblem.TOO_DEEP, id="deeper than any parser goes"),
        pytest.param(
            b'[{"a":' + b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1) + b"}]",
            "JSON",
            DataProblem.TOO_DEEP,
            id="a value that is too deep",
        ),
        pytest.param(b",".join([b"c"] * (MAX_COLUMNS + 1)), "CSV", DataProblem.TOO_LARGE, id="too many columns"),
        pytest.param(b"a\n" + b"1\n" * (MAX_ROWS + 1), "CSV", DataProblem.TOO_LARGE, id="too many rows"),
        pytest.param(b"a\n" + b"x" * 70_000 + b"\n", "CSV", DataProblem.TOO_LARGE, id="a cell that is too long"),
    ],
)
def test_content_that_is_no_table_is_refused_with_what_is_wrong(
    content: bytes, form: str, problem: DataProblem
) -> None:
    with pytest.raises(BadDataError) as refused:
        read_table(content, DataFormat(form))
    assert refused.value.problem is problem
    assert 0 < len(str(refused.value)) < 400


def play(number: int) -> bool:
    """Read a hostile file; tell whether it was a table after all."""
    content, form = hostile_file(number)
    started = time.process_time()
    try:
        table = read_table(content, form)
    except BadDataError:
        return False
    finally:
        assert time.process_time() - started < MOST_SECONDS, f"file {number}"
    assert all(len(row) == len(table.columns) for row in table.rows)
    return True


def test_hostile_files_are_tables_or_refused_and_never_anything_else() -> None:
    outcomes = [play(number) for number in range(600)]
    assert {True, False} == set(outcomes)


@pytest.mark.slow
def test_ten_thousand_hostile_files_are_tables_or_refused() -> None:
    for number in range(10_000):
        play(number)


@pytest.mark.parametrize("form", list(DataFormat))
@pytest.mark.parametrize("piece", [b"a\n", b",", b"[", b"{}", b'[{"a":1},', b'"', b"1,", b"[],", b'{"a":{}},'])
def test_a_megabyte_of_one_thing_stays_small_in_memory(piece: bytes, form: DataFormat) -> None:
    content = (piece * (MAX_FILES_BYTES // len(piece)))[:MAX_FILES_BYTES]
    tracemalloc.start()
    try:
        read_table(content, form)
    except BadDataError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 64 * MIB


def test_ten_megabytes_are_refused_unread() -> None:
    with pytest.raises(BadDataError, match="10,000,000 bytes; at most 1,000,000 fit"):
        read_table(b"a\n" * 5_000_000, DataFormat.CSV)
