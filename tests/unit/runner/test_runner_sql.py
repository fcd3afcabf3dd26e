"""The tool `sql`, on real files and a real SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentsessions.runner.tools.sql import MAX_OUTPUT_BYTES, MAX_ROWS, Database, Sql
from agentsessions.runner.tools.tool import ToolFailedError

pytestmark = [pytest.mark.requirement("OBJ-8"), pytest.mark.requirement("AG-2")]


@pytest.fixture
def sql(tmp_path: Path) -> Sql:
    (tmp_path / "sales.csv").write_text("region,amount\nnorth,10\nsouth,32\nnorth,5\n")
    (tmp_path / "people.json").write_text('[{"region":"north","head":"Ada"},{"region":"south"}]')
    (tmp_path / "broken.json").write_text("[1]")
    (tmp_path / "..data").mkdir()
    return Sql(Database(tmp_path, max_seconds=0.2))


async def test_sql_joins_data_sources_of_both_formats(sql: Sql) -> None:
    query = "SELECT head, sum(amount) AS total FROM sales JOIN people USING (region) GROUP BY 1 ORDER BY 2"
    assert await sql.run({"query": query}) == "head,total\nAda,15\n,32\n[2 rows]"


async def test_sql_tells_the_model_tables_columns_and_rows(sql: Sql) -> None:
    assert 'sales ("region" TEXT, "amount" INTEGER): 3 rows' in sql.description
    assert "broken" not in sql.description


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM sales",
        "INSERT INTO sales VALUES ('x', 1)",
        "CREATE TABLE t (a)",
        "DROP TABLE sales",
        "ATTACH '/etc/passwd' AS p",
        "PRAGMA query_only=OFF",
        "VACUUM INTO '/tmp/x'",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT 1; SELECT 2",
        "BEGIN",
        "SELECT * FROM nowhere",
        "SELECT readfile('/etc/passwd')",
        "SELEC",
        "",
        "-- nothing",
        "SELECT '\0'",
        "SELECT \ud800",
    ],
)
async def test_sql_runs_one_select_and_nothing_else(sql: Sql, query: str) -> None:
    with pytest.raises(ToolFailedError, match=r".+"):
        await sql.run({"query": query})
    assert await sql.run({"query": "SELECT count(*) FROM sales"}) == "count(*)\n3\n[1 rows]"


async def test_sql_tells_which_source_is_no_table(sql: Sql) -> None:
    with pytest.raises(
        ToolFailedError, match=r"(?s)no such table: broken.*broken cannot be read: item 1 is not an object"
    ):
        await sql.run({"query": "SELECT * FROM broken"})


@pytest.mark.parametrize(
    "query",
    [
        pytest.param(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n", id="for ever"
        ),
        pytest.param("SELECT count(*) FROM " + ", ".join(f"sales s{n}" for n in range(40)), id="forty times itself"),  # noqa: S608
        pytest.param("SELECT hex(zeroblob(900000000))", id="a value of 900 MB"),
        pytest.param(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) "
            "SELECT group_concat(hex(randomblob(400000))) FROM n",
            id="memory without end",
        ),
    ],
)
async def test_sql_stops_what_would_never_end_or_fit(sql: Sql, query: str) -> None:
    with pytest.raises(ToolFailedError):
        await sql.run({"query": query})
    assert await sql.run({"query": "SELECT 1"}) == "1\n1\n[1 rows]"


async def test_sql_shows_so_many_rows_and_says_that_there_are_more(sql: Sql) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 5000) SELECT i FROM n"
    told = await sql.run({"query": endless})
    assert told.endswith(f"\n{MAX_ROWS}\n[the first {MAX_ROWS} rows; there are more: ask for less, or aggregate]")
    wide = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 400) SELECT hex(zeroblob(400)) FROM n"
    told = await sql.run({"query": wide})
    assert len(told.encode()) < MAX_OUTPUT_BYTES + 200
    assert "there are more" in told


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM sales",
        "PRAGMA query_only=OFF",
        "ATTACH ':memory:' AS other",
        "CREATE TEMP TABLE t (a)",
        "EXPLAIN DELETE FROM sales",
        "SELECT * FROM pragma_database_list",
        "SAVEPOINT s",
    ],
)
async def test_sql_asks_before_each_thing_that_a_statement_does(sql: Sql, query: str) -> None:
    with pytest.raises(ToolFailedError, match="not authorized"):
        await sql.run({"query": query})
