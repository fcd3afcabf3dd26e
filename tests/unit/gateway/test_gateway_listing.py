"""Cursors and items of lists."""

from datetime import UTC, datetime

import pytest

from agentsessions.gateway.listing import cut, from_cursor, to_cursor
from agentsessions.gateway.problems import ProblemError
from agentsessions.journal.session_query import Position, SessionQuery, SessionSort

AT = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sort", "value"),
    [(SessionSort.CREATED_AT, AT), (SessionSort.FINISHED_AT, None), (SessionSort.NAME, "größe")],
    ids=["an instant", "nothing", "a text"],
)
@pytest.mark.requirement("OPS-9")
def test_a_cursor_comes_back_as_it_went(sort: SessionSort, value: datetime | str | None) -> None:
    position = Position(value, "uid", 7)
    cursor = to_cursor(position, SessionQuery(sort=sort))
    assert cursor.isascii()
    assert cursor.replace("-", "").replace("_", "").isalnum()
    assert from_cursor(cursor, sort, descending=True) == position


@pytest.mark.parametrize(
    "cursor",
    [
        "%",
        "bm9uZQ",
        "W10",
        to_cursor(Position(AT, "u", 1), SessionQuery(sort=SessionSort.UPDATED_AT)),
        to_cursor(Position(AT, "u", 1), SessionQuery(descending=False)),
        to_cursor(Position("yesterday", "u", 1), SessionQuery()),
        to_cursor(Position(AT.replace(tzinfo=None), "u", 1), SessionQuery()),
        to_cursor(Position("0001-01-01T00:00:00+14:00", "u", 1), SessionQuery()),
        to_cursor(Position(None, "u", -1), SessionQuery()),
    ],
    ids=[
        *("no base64", "no JSON", "too short", "another order", "another way round", "no instant", "no zone"),
        *("before all time", "less than nothing"),
    ],
)
def test_a_cursor_that_is_not_of_this_list_is_refused(cursor: str) -> None:
    with pytest.raises(ProblemError) as refused:
        from_cursor(cursor, SessionSort.CREATED_AT, descending=True)
    assert (refused.value.status, refused.value.code) == (400, "bad_cursor")


def test_a_long_text_is_cut_with_a_mark() -> None:
    assert cut("12345", 5) == "12345"
    assert cut("123456", 5) == "1234…"
