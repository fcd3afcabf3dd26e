"""A session as a file: out of one journal, into another."""

from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import orjson
import pytest
import zstandard

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.wire import Outcome
from agentsessions.gateway.archives import read_file, write_archive
from agentsessions.journal import redactions
from agentsessions.journal.archive import ArchiveRefused, SessionKnown, check, put, to_line
from agentsessions.journal.inbox import list_messages
from agentsessions.journal.lists import read_page
from agentsessions.journal.rows import SessionRow
from agentsessions.journal.session_query import SessionQuery
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock, a_player, a_session, an_answer, call_ids
from tests.journals import put_journal

Lines = list[bytes]


@pytest.fixture
async def other(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    """Another journal."""
    store = await Store.open(put_journal(tmp_path / "other.db"), clock=clock)
    yield store
    await store.close()


async def play(store: Store, turns: int = 2) -> None:
    """Play a session with messages, tools and an end."""
    player = await a_player(store, labels={"team": "x"}, owner="alice")
    await player.say("and fast")
    for k in range(1, turns + 1):
        await store.pin_turn(player.pod)
        answer = await player.ask(an_answer("I look.", "shell"), f"d{k}")
        (call_id,) = call_ids(answer)
        await player.begin(call_id)
        await player.report(call_id, f"result {k}")
        await player.commit(k, Outcome.CONTINUE)
    await store.put_session(
        a_session(
            labels={"team": "x"},
            owner="alice",
            phase=Phase.COMPLETED,
            stop_reason=StopReason.GOAL_REACHED,
            finished_at=T0,
        )
    )


async def export(store: Store) -> bytes:
    return b"".join([piece async for piece in write_archive(store, "s1")])


async def lines_of(store: Store) -> Lines:
    return zstandard.ZstdDecompressor().decompressobj().decompress(await export(store)).splitlines(keepends=True)


async def take_in(store: Store, lines: Lines) -> SessionRow:
    return await store.write(lambda work: put(work, lines, "elsewhere", "n2"))


def changed(line: bytes, **changes: Any) -> bytes:
    found = orjson.loads(line)
    found["row"] |= changes
    return to_line(found)


@pytest.mark.requirement("STEP-5")
async def test_a_session_comes_out_as_it_went_in(store: Store, other: Store) -> None:
    await play(store, turns=60)  # more than a page of rows
    with TemporaryFile() as file:
        file.write(await export(store))
        assert check(read_file(file)).head == len(await store.entries("s1"))
        row = await other.write(lambda work: put(work, read_file(file), "elsewhere", "n2"))
    assert (row.uid, row.namespace, row.namespace_uid) == ("s1", "elsewhere", "n2")
    assert row.deleted_at == T0
    assert row.usage == (await store.get_session("s1", "default")).usage  # type: ignore[union-attr]  # it is there
    assert await other.entries("s1") == await store.entries("s1")
    assert await other.verify("s1") == []
    said = [await one.read(list_messages, "s1", 0, 10) for one in (store, other)]
    assert said[0] == said[1]
    query = SessionQuery(labels=(("team", "x"),), include_deleted=True)
    assert [found.uid for found in (await other.read(read_page, query)).items] == ["s1"]


async def test_a_session_that_is_known_is_not_overwritten(store: Store) -> None:
    await play(store)
    lines = await lines_of(store)
    with pytest.raises(SessionKnown, match="s1"):
        await take_in(store, lines)
    assert await store.verify("s1") == []


@pytest.mark.requirement("STEP-5")
@pytest.mark.parametrize(
    ("damage", "named"),
    [
        pytest.param(lambda lines: lines[:-3], "the rest of it is missing", id="its end is cut off"),
        pytest.param(lambda lines: [*lines[:4], *lines[5:]], "line 5 .*entry 3 is missing", id="an entry is missing"),
        pytest.param(lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "line 4 ", id="entries are swapped"),
        pytest.param(
            lambda lines: [*lines[:3], changed(lines[3], body={"role": "user", "content": "x"}), *lines[4:]],
            "line 4 .*a body that is not the one",
            id="a body is changed",
        ),
        pytest.param(lambda lines: lines[1:], "line 1 .*does not begin", id="its first line is gone"),
        pytest.param(lambda lines: [*lines[:1], *lines[2:]], "line|head", id="the counters are gone"),
        pytest.param(
            lambda lines: [*lines[:1], changed(lines[1], head=99), *lines[2:]], "head is entry 99", id="another head"
        ),
        pytest.param(
            lambda lines: [*lines[:1], changed(lines[1], steps="many"), *lines[2:]],
            "line 2 .*usage.steps cannot be 'many'",
            id="a value of another type",
        ),
        pytest.param(
            lambda lines: [*lines[:1], changed(lines[1], novel=1), *lines[2:]], "has no 'novel'", id="an unknown column"
        ),
        pytest.param(lambda lines: [*lines, lines[-1]], "comes after the end", id="something follows the end"),
        pytest.param(lambda lines: [*lines[:2], b"{]", *lines[2:]], "line 3 ", id="a line is no JSON"),
    ],
)
async def test_a_damaged_file_is_refused_with_the_line(store: Store, other: Store, damage: Any, named: str) -> None:
    await play(store)
    lines = damage(await lines_of(store))
    with pytest.raises(ArchiveRefused, match=named):
        check(lines)
    with pytest.raises(ArchiveRefused, match=named):
        await take_in(other, lines)
    assert await other.get_session_by_uid("s1") is None


async def test_what_is_no_compressed_file_is_refused() -> None:
    with TemporaryFile() as file:
        file.write(b"not a file of ours")
        with pytest.raises(ArchiveRefused, match="not compressed"):
            check(read_file(file))


async def test_a_redacted_entry_stays_redacted(store: Store, other: Store) -> None:
    await play(store)
    (message,) = await store.read(list_messages, "s1", 0, 10)
    await store.write(lambda work: redactions.delete(work, "s1", message.id, "bob"))
    await take_in(other, await lines_of(store))
    (entry,) = [one for one in await other.entries("s1") if one.seq == message.entry_seq]
    assert entry.body is None
    assert entry.body_digest
    assert await other.verify("s1") == []


async def test_a_file_with_content_that_vanished_is_refused(store: Store, other: Store) -> None:
    await play(store)
    await store.write(lambda work: work.conn.exec_driver_sql("UPDATE entries SET body = NULL WHERE seq = 2"))
    with pytest.raises(ArchiveRefused, match="entry 2"):
        await take_in(other, await lines_of(store))
