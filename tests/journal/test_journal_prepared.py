"""Statements that go straight to the driver: what they find and refuse is what SQLAlchemy would."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError

from agentsessions.journal import prepared
from agentsessions.journal.prepared import Prepared
from agentsessions.journal.store import Store
from agentsessions.journal.tables import model_calls, sessions, tool_calls, usage
from agentsessions.journal.writer import Work
from tests.journal.builders import a_player, a_session, an_answer

SESSION = select(sessions).where(sessions.c.uid == bindparam("uid"))


async def test_rows_are_read_as_sqlalchemy_reads_them(store: Store) -> None:
    player = await a_player(store, labels={"team": "core"}, title="a\0b\x1ac", metadata={"n": [1, None, 0.5]})
    await store.pin_turn(player.pod)
    await player.ask(an_answer("I look.", "shell", "shell"))

    def compare(work: Work) -> list[Any]:
        found = []
        for table in (sessions, usage, model_calls, tool_calls):
            statement = select(table).order_by(*table.primary_key)
            theirs = [dict(row) for row in work.conn.execute(statement).mappings()]
            assert Prepared(statement).rows(work) == theirs
            found += theirs
        return found

    assert len(await store.write(compare)) == 5


async def test_values_are_written_as_sqlalchemy_writes_them(store: Store) -> None:
    await store.put_session(a_session())
    values = {
        "title": "a\0b\x1ac",
        "metadata": {"n": [1, None, 0.5]},
        "error": None,
        "started_at": datetime(2026, 7, 1, 12, 30, tzinfo=UTC),
        "generation": 7,
    }

    def write(work: Work) -> Any:
        assert prepared.change(work, sessions, {"uid": "s1"}, **values) == 1
        assert prepared.change(work, sessions, {"uid": "other"}, **values) == 0
        return dict(work.conn.execute(SESSION, {"uid": "s1"}).mappings().one())

    assert values.items() <= (await store.write(write)).items()
    with pytest.raises(ValueError, match="no time zone"):
        await store.write(lambda work: prepared.change(work, sessions, {"uid": "s1"}, started_at=datetime(2026, 7, 1)))  # noqa: DTZ001 - refused


async def test_of_nothing_there_is_nothing(store: Store) -> None:
    statement = Prepared(SESSION)

    def ask(work: Work) -> list[Any]:
        statement.run_each(work, [])
        return [ask(work, uid="nobody") for ask in (statement.rows, statement.row, statement.values, statement.value)]

    assert await store.write(ask) == [[], None, None, None]


async def test_a_statement_takes_the_names_it_was_compiled_for_alone(store: Store) -> None:
    await store.put_session(a_session())
    statement = Prepared(SESSION)

    def ask(work: Work, **values: Any) -> Any:
        return statement.row(work, **values)

    assert await store.write(lambda work: ask(work, uid="s1")) is not None
    for wrong in ({}, {"name": "s1"}, {"uid": "s1", "name": "s1"}):
        with pytest.raises(TypeError, match="it was compiled for uid"):
            await store.write(lambda work, wrong=wrong: ask(work, **wrong))


async def test_sql_that_depends_on_the_values_is_refused(store: Store) -> None:
    statement = Prepared(select(sessions).where(sessions.c.uid.in_(bindparam("uids", expanding=True))))
    with pytest.raises(TypeError, match="not the same SQL at each run"):
        await store.write(lambda work: statement.rows(work, uids=["s1"]))


async def test_a_row_that_is_there_already_is_an_error_of_the_job_alone(store: Store) -> None:
    await store.put_session(a_session())
    with pytest.raises(IntegrityError) as refused:
        await store.write(lambda work: prepared.add(work, usage, session_uid="s1", has_goal=False))
    assert refused.value.connection_invalidated is False
    await store.put_session(a_session("s2"))
    assert await store.get_session_by_uid("s2") is not None
