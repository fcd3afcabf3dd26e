"""One journal on PostgreSQL, and several gateways that have it open."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import DataError

from agentsessions.gateway.replicas import LOOKS, Replicas
from agentsessions.journal.database import create_writer_engine
from agentsessions.journal.entries import EntryType
from agentsessions.journal.inbox import list_messages
from agentsessions.journal.ledger import Ledger
from agentsessions.journal.refusals import CallInFlight, StoreUnavailable, UnknownCall
from agentsessions.journal.rows import NewMessage
from agentsessions.journal.store import Store
from agentsessions.journal.writer import Work
from tests.journal.builders import a_player, a_session, an_answer
from tests.postgres import Databases

OPERATOR = Path(__file__).parents[3] / "operator"
LONG_SECONDS = 120
UIDS = tuple(f"s{number}" for number in range(5))
EACH = 40
LAST = "last"
CONNECTED = "FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"


def append(uid: str, text: str) -> Callable[[Work], int]:
    def job(work: Work) -> int:
        ledger = Ledger(work, uid)
        seq = ledger.append(EntryType.MESSAGE, {"role": "user", "content": text})
        ledger.save()
        return seq

    return job


async def write(store: Store, uid: str) -> list[str]:
    """Append one entry after the other; return those that were acknowledged, and leave out what failed."""
    kept = []
    for number in range(EACH):
        text = f"{store.instance} {number}"
        try:
            await store.write(append(uid, text))
        except StoreUnavailable:
            continue
        kept.append(text)
    return kept


async def follow(store: Store, seen: dict[str, list[int]]) -> None:
    """Read as a stream does, from where one stands, whenever something is heard of a session, to the last entry."""
    with store.changes() as changes:
        ended = {uid for uid in UIDS if await _catch_up(store, uid, seen)}
        while len(ended) < len(UIDS):
            async with asyncio.timeout(LONG_SECONDS):
                uid = await anext(changes)
            if await _catch_up(store, uid, seen):
                ended.add(uid)


async def _catch_up(store: Store, uid: str, seen: dict[str, list[int]]) -> bool:
    entries = await store.entries(uid, seen[uid][-1] if seen[uid] else 0)
    seen[uid] += [entry.seq for entry in entries]
    return bool(entries) and (entries[-1].body or {}).get("content") == LAST


async def play(stores: tuple[Store, Store], disturb: Callable[[], None] | None) -> None:
    """Let both write to the same sessions while both read; nothing acknowledged is lost, nothing comes twice."""
    for uid in UIDS:
        await stores[0].put_session(a_session(uid))
    seen: list[dict[str, list[int]]] = [{uid: [] for uid in UIDS} for _ in stores]
    following = [asyncio.create_task(follow(*one)) for one in zip(stores, seen, strict=True)]
    writing = [asyncio.create_task(write(store, uid)) for store in stores for uid in UIDS]
    while disturb is not None and not all(task.done() for task in writing):
        await asyncio.to_thread(disturb)
        await asyncio.wait(writing, timeout=0.3)
    kept = [await task for task in writing]
    for uid in UIDS:
        await stores[0].write(append(uid, LAST))
    await asyncio.gather(*following)
    for place, uid in enumerate(UIDS):
        found = await stores[0].entries(uid)
        texts = Counter((entry.body or {}).get("content") for entry in found)
        acknowledged = kept[place] + kept[len(UIDS) + place]
        assert {text: texts[text] for text in acknowledged} == dict.fromkeys(acknowledged, 1)
        assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
        assert [one[uid] for one in seen] == [[entry.seq for entry in found]] * 2
        assert await stores[1].verify(uid) == []
    assert sum(map(len, kept)) >= (1 if disturb else 2 * len(UIDS) * EACH)


@pytest.mark.requirement("LIFE-11")
async def test_readers_of_either_gateway_see_each_entry_once_while_both_write(stores: tuple[Store, Store]) -> None:
    await play(stores, None)


@pytest.mark.requirement("LIFE-11")
async def test_killed_connections_lose_nothing_that_was_acknowledged(
    stores: tuple[Store, Store], databases: Databases, name: str
) -> None:
    statement = f"SELECT count(pg_terminate_backend(pid)) {CONNECTED.format(name=name)}"
    await play(stores, lambda: databases.server.execute(statement) and None)


@pytest.mark.requirement("LIFE-11")
async def test_a_restart_of_the_database_loses_nothing_that_was_acknowledged(
    stores: tuple[Store, Store], databases: Databases
) -> None:
    def restart() -> None:
        databases.server.stop()
        databases.server.start()

    await play(stores, restart)


async def test_a_reader_hears_of_the_others_commits_although_notifications_are_lost(
    stores: tuple[Store, Store], databases: Databases, name: str
) -> None:
    with stores[1].changes() as changes:
        statement = f"SELECT count(pg_terminate_backend(pid)) {CONNECTED.format(name=name)} AND query LIKE 'LISTEN%'"
        assert databases.server.execute(statement).strip() == "2"
        await stores[0].put_session(a_session())
        async with asyncio.timeout(LONG_SECONDS):
            assert await anext(changes) == "s1"


async def test_own_commits_are_announced_once(stores: tuple[Store, Store]) -> None:
    with stores[0].changes() as own, stores[1].changes() as others:
        await stores[0].put_session(a_session("s1"))
        assert await anext(own) == "s1"
        await stores[1].put_session(a_session("s2"))
        assert [await anext(own), await anext(others), await anext(others)] == ["s2", "s1", "s2"]


def _lose_answers(engine: Engine) -> list[int]:
    """Let the next commit come to the server, and its answer not come back."""
    lost: list[int] = []

    @event.listens_for(engine, "commit")
    def commit_and_cut(connection: Any) -> None:
        if not lost:
            driver = connection.connection.driver_connection
            lost.append(driver.info.backend_pid)
            driver.commit()
            driver.close()

    return lost


async def test_a_commit_whose_answer_was_lost_is_no_success_and_is_found_by_its_key(
    stores: tuple[Store, Store],
) -> None:
    store = stores[0]
    await store.put_session(a_session())
    lost = _lose_answers(store._writer_engine)  # noqa: SLF001 - where the network would be cut
    with store.changes() as changes:
        with pytest.raises(StoreUnavailable, match="ask for the same again"):
            await store.put_message("s1", NewMessage("m1", "hello", "alice", "key"))
        assert len(lost) == 1
        async with asyncio.timeout(LONG_SECONDS):
            assert await anext(changes) == "s1"  # kept after all, and told
    again = await store.put_message("s1", NewMessage("m2", "hello", "alice", "key"))
    assert again.id == "m1"
    assert len(await store.read(list_messages, "s1", 0, 10)) == 1


async def test_a_gateway_that_hangs_in_a_transaction_holds_the_others_up_for_a_while_only(
    stores: tuple[Store, Store], databases: Databases, name: str
) -> None:
    hanging = create_writer_engine(
        f"{databases.server.url(name)}&options=-c%20idle_in_transaction_session_timeout%3D500ms"
    )
    with hanging.connect() as connection:
        connection.begin()
        async with asyncio.timeout(LONG_SECONDS):
            await stores[0].put_session(a_session())
        connection.invalidate()
    hanging.dispose()


async def test_a_value_that_the_database_refuses_fails_its_own_job_alone(stores: tuple[Store, Store]) -> None:
    store = stores[0]
    await store.put_session(a_session())
    bad = NewMessage("m1", "hello", "alice", "x" * 300)
    outcomes = await asyncio.gather(
        store.put_message("s1", bad), store.write(append("s1", "kept")), return_exceptions=True
    )
    assert isinstance(outcomes[0], DataError)
    assert isinstance(outcomes[1], int)


@pytest.mark.requirement("LIFE-11")
async def test_purchases_of_a_gateway_that_died_are_charged_by_another_and_those_of_one_that_lives_are_not(
    stores: tuple[Store, Store],
) -> None:
    one, two = stores
    dying, living = await a_player(one, "s1"), await a_player(two, "s2")
    for player in (dying, living):
        await player.store.pin_turn(player.pod)
    lost = await dying.reserve(asked_output_tokens=50)
    kept = await living.reserve(asked_output_tokens=50)
    dying.store = two
    with pytest.raises(CallInFlight) as other:
        await dying.reserve(asked_output_tokens=50)
    assert not other.value.is_own

    third = Replicas(two)
    for _ in range(LOOKS):
        assert (await dying.level()).open_calls == 1
        await third.look()

    assert ((await dying.level()).open_calls, (await living.level()).open_calls) == (0, 1)
    assert (await dying.level()).output_tokens == 50
    dying.store = one
    with pytest.raises(UnknownCall, match="too late"):  # it was only frozen; its purchase is charged already
        await dying.settle(lost, an_answer("late"))
    dying.store = two
    again = await dying.reserve(asked_output_tokens=50)
    assert (again.step, again.attempt) == (1, 2)
    await living.settle(kept, an_answer("hello"))


async def test_a_gateway_that_beats_is_not_taken_for_dead(stores: tuple[Store, Store]) -> None:
    one, two = stores
    player = await a_player(one)
    await one.pin_turn(player.pod)
    await player.reserve()
    beating, looking = Replicas(one), Replicas(two)
    for _ in range(3 * LOOKS):
        await beating.look()
        await looking.look()
    assert (await player.level()).open_calls == 1
    await beating.leave()
    assert (await player.level()).open_calls == 0


async def test_two_gateways_that_start_at_once_migrate_once(databases: Databases) -> None:
    program = (
        "import asyncio, sys; from agentsessions.journal.store import Store\n"
        "async def main():\n"
        "    store = await Store.open(sys.argv[1])\n"
        "    print(await store.open_levels())\n"
        "    await store.close()\n"
        "asyncio.run(main())"
    )
    with databases.create("template0") as name:
        starting = [
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, databases.server.url(name),
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"PYTHONPATH": str(OPERATOR)},
            )
            for _ in range(2)
        ]  # fmt: skip
        outputs = [await process.communicate() for process in starting]
        assert [(out, err) for out, err in outputs] == [(b"[]\n", b"")] * 2
        revisions = databases.server.execute("SELECT version_num FROM alembic_version", name)
    assert revisions.split() == ["0001"]
