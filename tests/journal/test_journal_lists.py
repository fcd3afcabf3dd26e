"""Lists of sessions: filters, order, pages by offset and by position."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from agentsessions.api.reasons import Phase
from agentsessions.journal import session_search, trigrams
from agentsessions.journal.lists import ListedSession, SessionPage, read_page
from agentsessions.journal.retention import remove
from agentsessions.journal.session_query import MAX_OFFSET, Position, SessionQuery, SessionSort
from agentsessions.journal.store import Store
from agentsessions.journal.writer import Work
from tests.journal.builders import T0, Clock, a_player, a_session, an_answer
from tests.journals import url_of

HOUR = timedelta(hours=1)
LONG_AGO: dict[str, Any] = {"namespace_uid": "n0"}
ROWS: list[dict[str, Any]] = [
    {"uid": "a", "title": "Sales report", "owner": "alice", "labels": {"team": "x", "tier": "1"}, "mode": "Query"},
    {
        "uid": "b",
        "phase": Phase.RUNNING,
        "goal": "reach 100% of it",
        "session_id": "mine",
        "template": "t",
        "labels": {"team": "y"},
    },
    {"uid": "c", "goal": "find lost sales", "namespace": "x", "finished_at": T0 + 5 * HOUR, "phase": Phase.FAILED},
    {"uid": "d", "description": "Größe", "labels": {"team": "x"}},
    {"uid": "e", "phase": None, "phase_started_at": None},
]


async def list_of(store: Store, **query: Any) -> SessionPage:
    return await store.read(read_page, SessionQuery(**query))


async def names(store: Store, **query: Any) -> list[str]:
    return [row.uid for row in (await list_of(store, **query)).items]


async def fill(store: Store, clock: Clock) -> None:
    """Put sessions an hour apart; `d` is gone."""
    for hour, row in enumerate(ROWS):
        clock.move(hours=1)
        await store.put_session(a_session(**row, created_at=T0 + hour * HOUR))
    await store.mark_deleted("d", T0)


@pytest.mark.parametrize(
    ("query", "want"),
    [
        pytest.param({}, "ecba", id="newest first"),
        pytest.param({"descending": False}, "abce", id="oldest first"),
        pytest.param({"sort": SessionSort.NAME, "descending": False}, "abce", id="by name"),
        pytest.param({"sort": SessionSort.UPDATED_AT}, "ecba", id="by change"),
        pytest.param({"sort": SessionSort.LAST_ACTIVITY}, "cbae", id="by activity, those without at the end"),
        pytest.param({"sort": SessionSort.FINISHED_AT, "descending": False}, "cabe", id="unfinished at the end"),
        pytest.param({"limit": 1, "offset": 1}, "c", id="one page"),
        pytest.param({"phases": ("Running", "Failed")}, "cb", id="of several phases"),
        pytest.param({"phases": ("Pending",)}, "e", id="without a phase yet means pending"),
        pytest.param({"type": "Audit"}, "", id="of a type"),
        pytest.param({"role": "Worker"}, "ecba", id="of a role"),
        pytest.param({"mode": "Query"}, "a", id="of a mode"),
        pytest.param({"owner": "alice"}, "a", id="of an owner"),
        pytest.param({"session_id": "mine"}, "b", id="by their own id"),
        pytest.param({"template": "t"}, "b", id="by their template"),
        pytest.param({"labels": (("team", "x"),)}, "a", id="by a label"),
        pytest.param({"labels": (("team", "x"),), "include_deleted": True}, "da", id="by a label, deleted ones too"),
        pytest.param({"labels": (("team", "x"), ("tier", "2"))}, "", id="all labels must match"),
        pytest.param({"text": "SALES"}, "ca", id="by words of title or goal"),
        pytest.param({"text": "größe", "include_deleted": True}, "d", id="by words that are no ASCII"),
        pytest.param({"text": "100%"}, "b", id="percent signs are no wildcards"),
        pytest.param({"text": "mine"}, "b", id="by words of their own id"),
        pytest.param({"created_after": T0 + HOUR, "created_before": T0 + 4 * HOUR}, "cb", id="by creation"),
        pytest.param({"finished_after": T0 + 5 * HOUR}, "c", id="by end"),
        pytest.param({"finished_before": T0 + 5 * HOUR}, "", id="before an end"),
        pytest.param({"namespace": "x"}, "c", id="of a namespace"),
        pytest.param({"include_deleted": True}, "edcba", id="deleted ones too"),
        pytest.param(
            {"include_deleted": True, "namespace_uid": "n0"}, "", id="of another incarnation of the namespace"
        ),
    ],
)
@pytest.mark.requirement("OPS-9")
@pytest.mark.requirement("STEP-3")
async def test_a_list_shows_what_matches(store: Store, clock: Clock, query: dict[str, Any], want: str) -> None:
    await fill(store, clock)
    page = await list_of(store, **query)
    assert "".join(row.uid for row in page.items) == want
    assert page.total == (4 if "limit" in query else len(want))


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": 1001}, {"offset": -1}, {"offset": MAX_OFFSET + 1}])
async def test_a_page_out_of_range_is_refused(store: Store, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="limit 1 to 1000"):
        await list_of(store, **bad)


@pytest.mark.parametrize("sort", SessionSort)
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.requirement("OPS-9")
async def test_pages_by_position_show_each_session_once(
    store: Store, clock: Clock, sort: SessionSort, descending: bool
) -> None:
    await fill(store, clock)
    query = SessionQuery(sort=sort, descending=descending, include_deleted=True)
    whole = (await store.read(read_page, query)).items
    seen, position = [], None
    for _ in whole:
        page = await store.read(read_page, replace(query, limit=1, after=position))
        seen += page.items
        position = page.next
        assert page.total == len(whole)
    assert seen == whole
    assert position is None


async def test_pages_by_position_stand_still_while_sessions_come(store: Store, clock: Clock) -> None:
    await fill(store, clock)
    first = await list_of(store, limit=2)
    await store.put_session(a_session("new", created_at=T0 + 9 * HOUR))
    assert isinstance(first.next, Position)
    assert await names(store, limit=2, after=first.next) == ["b", "a"]


async def test_a_page_behind_the_end_still_tells_the_total(store: Store, clock: Clock) -> None:
    await fill(store, clock)
    for query in ({"text": "sales"}, {}):
        page = await list_of(store, offset=50, **query)
        assert (page.items, page.total) == ([], 2 if query else 4)


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("sort", SessionSort)
@pytest.mark.requirement("OPS-9")
async def test_a_page_is_the_same_however_it_is_looked_for(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, descending: bool, sort: SessionSort
) -> None:
    await fill_with_others(store, clock)
    query = {"text": "sales", "sort": sort, "descending": descending}
    whole = (await list_of(store, **query)).items
    assert [row.uid for row in whole] == [row.uid for row in in_order(whole, sort, descending=descending)]
    assert {row.uid for row in whole} == set("acdfg")
    for walked, rare in product((1, 3, 99), (0, 9)):
        monkeypatch.setattr(session_search, "MOST_WALKED", walked)
        monkeypatch.setattr(trigrams, "MOST_RARE", rare)
        for offset, limit in product(range(6), (1, 2, 9)):
            last = whole[offset - 1] if offset else None
            position = None if last is None else Position(value_of(last, sort), last.uid, 5)
            page = await list_of(store, **query, limit=limit, offset=offset)
            assert (page.items, page.total) == (whole[offset : offset + limit], 5)
            assert (page.next is None) is (offset + limit >= 5)
            assert await list_of(store, **query, limit=limit, after=position) == page


async def fill_with_others(store: Store, clock: Clock) -> None:
    """Put sessions of which `b` is about something else, `e` is gone, and some have no value to sort by."""
    for hour, uid in enumerate("abcdefg"):
        clock.now = T0 + max(hour, 3) * HOUR
        values: dict[str, Any] = {"title": "other" if uid == "b" else "sales", "created_at": clock.now}
        if uid in "acd":
            values |= {"finished_at": clock.now, "phase": Phase.FAILED, "started_at": T0}
        elif uid == "g":
            values |= {"phase": None, "phase_started_at": None}
        await store.put_session(a_session(uid, **values))
    await store.mark_deleted("e", T0)


def value_of(row: ListedSession, sort: SessionSort) -> Any:
    names = {"createdAt": "created_at", "updatedAt": "updated_at", "startedAt": "started_at"}
    names |= {"finishedAt": "finished_at", "lastActivity": "last_at"}
    return getattr(row, names.get(sort, sort))


def in_order(rows: list[ListedSession], sort: SessionSort, *, descending: bool) -> list[ListedSession]:
    valued = [row for row in rows if value_of(row, sort) is not None]
    others = [row for row in rows if value_of(row, sort) is None]
    valued.sort(key=lambda row: (value_of(row, sort), row.uid), reverse=descending)
    return [*valued, *sorted(others, key=lambda row: row.uid, reverse=descending)]


TEXTS = {
    "Report": "ab",
    "reporters": "",
    'a "quoted" word': "b",
    '"or" AND': "b",
    "größe 😀": "b",
    "two\nlines": "b",
    "50%_\\/": "b",
    "50xx": "",
    "re": "ab",
    "é": "",
    "sales " * 40: "",
    "report of sales, and of more that is behind the first four and twenty groups of letters: here": "a",
    "report of sales, and of more that is behind the first four and twenty groups of letters: not": "",
}


@pytest.mark.requirement("OPS-9")
async def test_texts_are_found_as_they_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "Report of sales, and of more that is behind the first four and twenty groups of letters: here"
    await store.put_session(a_session("a", title=long))
    await store.put_session(
        a_session("b", title="Report", description='A "quoted" word, "or" AND größe 😀', goal="two\nlines, 50%_\\/")
    )
    await store.put_session(a_session("c", title="x"))
    for rare, (wanted, found) in product((0, 9), TEXTS.items()):
        monkeypatch.setattr(trigrams, "MOST_RARE", rare)
        assert await names(store, text=wanted, sort=SessionSort.NAME, descending=False) == list(found), wanted


@pytest.mark.parametrize("rare", [0, 9])
@pytest.mark.requirement("OPS-9")
async def test_texts_are_found_as_they_are_now(store: Store, monkeypatch: pytest.MonkeyPatch, rare: int) -> None:
    monkeypatch.setattr(trigrams, "MOST_RARE", rare)
    await store.put_session(a_session(title="first words"))
    await store.put_session(a_session(title="other words"))
    await store.put_session(a_session(title="other words"))
    assert await names(store, text="first") == []
    assert await names(store, text="other") == ["s1"]


async def open_sqlite(tmp_path: Path) -> Store:
    return await Store.open(url_of(tmp_path / "journal.db"))


async def test_the_index_of_texts_is_made_where_it_is_missing(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    await store.write(drop_index_of_texts)
    await store.put_session(a_session(title="Sales report"))
    await store.close()
    store = await open_sqlite(tmp_path)
    assert await names(store, text="report") == ["s1"]
    await store.put_session(a_session(title="Sales figures"))
    assert (await names(store, text="report"), await names(store, text="figures")) == ([], ["s1"])
    await store.close()


def drop_index_of_texts(work: Work) -> None:
    for trigger in ("insert", "update", "delete"):
        work.conn.exec_driver_sql(f"DROP TRIGGER session_texts_{trigger}")
    for table in ("session_texts_groups", "session_texts"):
        work.conn.exec_driver_sql(f"DROP TABLE {table}")


async def test_the_index_of_texts_keeps_nothing_of_a_session_that_was_removed(tmp_path: Path) -> None:
    store = await open_sqlite(tmp_path)
    for uid in ("s1", "s2"):
        await store.put_session(a_session(uid, title="Sales report"))
    await store.mark_deleted("s1", T0)
    assert await store.write(lambda work: remove(work, "s1", T0 + HOUR))
    query = text("SELECT rowid FROM session_texts_groups WHERE session_texts_groups MATCH 'sal'")
    kept = await store.read(lambda connection: connection.scalars(query).all())
    known = await store.read(
        lambda connection: connection.exec_driver_sql("SELECT id, session_uid FROM session_texts").all()
    )
    assert [(id_, "s2") for id_ in kept] == known
    assert len(kept) == 1
    await store.close()


async def test_labels_that_change_are_found_as_they_are_now(store: Store) -> None:
    await store.put_session(a_session(labels={"team": "x"}))
    await store.put_session(a_session(labels={"team": "y"}))
    assert await names(store, labels=(("team", "x"),)) == []
    assert await names(store, labels=(("team", "y"),)) == ["s1"]


async def test_lists_show_what_each_session_spent_and_did_last(store: Store, clock: Clock) -> None:
    player = await a_player(store, goal="g" * 200)
    clock.move(seconds=7)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("hello"))
    (row,) = (await list_of(store)).items
    assert (row.steps, row.input_tokens, row.output_tokens) == (1, 100, 10)
    assert row.last_at == T0 + timedelta(seconds=7)
    assert row.updated_at == T0
    assert len(row.goal) == 81


async def test_a_change_of_the_resource_is_dated(store: Store, clock: Clock) -> None:
    await store.put_session(a_session())
    clock.move(seconds=5)
    await store.put_session(a_session())
    (row,) = (await list_of(store)).items
    assert row.updated_at == T0
    await store.put_session(a_session(phase=Phase.RUNNING))
    (row,) = (await list_of(store)).items
    assert row.updated_at == T0 + timedelta(seconds=5)
