"""What a data source holds, and what is refused of it."""

from __future__ import annotations

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
from agentsessions.api.v1alpha1.context import DataFormat

pytestmark = pytest.mark.requirement("OBJ-8")

MIB = 1024 * 1024


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
        pytest.param(
            b'[{"a":' + b'[{"b":' * (MAX_DEPTH // 2) + b"[]" + b"}]" * (MAX_DEPTH // 2) + b"}]",
            "JSON",
            DataProblem.TOO_DEEP,
            id="lists and objects that are too deep together",
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


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(
            "[" + ",".join(f'{{"c{n % 250}":1}}' for n in range(49_000)) + "]",
            DataProblem.TOO_LARGE,
            id="rows of few columns, each of others",
        ),
        pytest.param(
            '[{"a":' + "[[]]" + "}" + ',{"a":[[]]}' * 40_000 + "]", DataProblem.TOO_LARGE, id="very many lists"
        ),
        pytest.param('[{"a":[{"b":"' + "[{" * 40 + '"}]}]', None, id="brackets in a text are none"),
        pytest.param('[{"a":"x\\\\"},{"a":"\\"[["}]', None, id="nor behind a quote in one"),
        pytest.param(
            '[{"a":' + '[{"b":' * (MAX_DEPTH // 2) + "1" + "}]" * (MAX_DEPTH // 2) + "}]",
            None,
            id="lists and objects as deep as they may be",
        ),
    ],
)
def test_json_is_measured_by_what_it_stands_for(content: str, problem: DataProblem | None) -> None:
    try:
        read_table(content.encode(), DataFormat.JSON)
        found = None
    except BadDataError as refused:
        found = refused.problem
    assert found is problem


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
