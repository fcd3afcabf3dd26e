"""The audit: one record for each act, one chain over all of them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, delete, text, update

from agentsessions.journal import audit, audit_tables
from agentsessions.journal.acts import Act, AuditCheck, AuditRecord, Door, SealedRecord, Verdict
from agentsessions.journal.audit import GRACE, AuditQuery
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock

pytestmark = pytest.mark.requirement("ID-4")

SESSION = {"namespace": "team", "namespace_uid": "n1", "session_uid": "u1", "session_name": "sales"}


def by_request(act: Act = Act.UPDATE, generation: int | None = 2, **changes: Any) -> AuditRecord:
    fields = SESSION | {"actor": "alice", "request_id": "r1", "generation": generation} | changes
    return AuditRecord(act=act, by=Door.GATEWAY, outcome=Verdict.DONE, **fields)


def by_manifest(act: Act = Act.UPDATE, generation: int | None = 2, **changes: Any) -> AuditRecord:
    fields = SESSION | {"field_manager": "kubectl", "generation": generation, "at": T0} | changes
    return AuditRecord(act=act, by=Door.MANIFEST, outcome=Verdict.DONE, **fields)


async def add(store: Store, record: AuditRecord) -> int:
    return await store.write(lambda work: audit.append(work, record))


async def see(store: Store, record: AuditRecord, *, may_be_ours: bool = False) -> Any:
    return await store.write(lambda work: audit.note_change(work, record, may_be_ours=may_be_ours))


async def records(store: Store, **query: Any) -> list[AuditRecord]:
    return [sealed.record for sealed in reversed(await store.read(audit.list_records, AuditQuery(**query)))]


async def acts(store: Store) -> list[tuple[str, str, str, int | None]]:
    return [(one.act.value, one.by.value, one.actor, one.generation) for one in await records(store)]


async def verify(store: Store) -> list[str]:
    head = await store.read(audit.read_head)
    check, problems = AuditCheck(), []
    while (found := await store.read(audit.check_page, check, head)) is not None:
        problems += found
    return [*problems, *check.end(head.number, head.digest)]


async def test_a_record_reads_as_it_was_written(store: Store) -> None:
    written = by_request(detail={"fields": ["title"]}, actor_uid="u-1")
    assert await add(store, written) == 1
    assert await records(store) == [replace(written, at=T0)]
    assert await verify(store) == []


async def test_records_are_found_by_what_they_say_and_paged_from_the_newest(store: Store, clock: Clock) -> None:
    await add(store, by_request(Act.MESSAGE_CREATE, None))
    clock.move(seconds=10)
    await add(store, by_request(Act.PAUSE, 2, actor="bob"))
    await add(store, by_request(Act.PAUSE, None, namespace="other", session_uid="u2", session_name="s2"))
    assert [one.act for one in await records(store, namespace="team")] == [Act.MESSAGE_CREATE, Act.PAUSE]
    assert [one.actor for one in await records(store, act=Act.PAUSE)] == ["bob", "alice"]
    assert [one.actor for one in await records(store, actor="bob")] == ["bob"]
    assert len(await records(store, session="sales")) == len(await records(store, session="u1")) == 2
    assert len(await records(store, since=T0 + timedelta(seconds=1))) == 2
    assert len(await records(store, until=T0 + timedelta(seconds=1))) == 1
    assert await records(store, namespace="team", namespace_uid="an earlier one") == []
    page = await store.read(audit.list_records, AuditQuery(limit=2))
    assert [one.number for one in page] == [3, 2]
    assert [one.number for one in await store.read(audit.list_records, AuditQuery(before=2))] == [1]


async def test_a_change_by_manifest_is_recorded_once_whoever_sees_it(store: Store) -> None:
    for _ in range(2):
        assert await see(store, by_manifest(Act.CREATE, 1)) is None
        assert await see(store, by_manifest(Act.PAUSE, 2)) is None
    assert await acts(store) == [("create", "manifest", "", 1), ("pause", "manifest", "", 2)]
    assert (await records(store))[0].field_manager == "kubectl"


async def test_a_change_of_our_own_is_left_to_its_request(store: Store, clock: Clock) -> None:
    due = await see(store, by_manifest(Act.CREATE, 1), may_be_ours=True)
    assert due == T0 + GRACE
    assert await see(store, by_manifest(Act.CREATE, 1), may_be_ours=True) == due
    await add(store, by_request(Act.CREATE, 1))
    assert await see(store, by_manifest(Act.CREATE, 1), may_be_ours=True) is None
    clock.move(seconds=60)
    assert await store.write(audit.settle) == 0
    assert await acts(store) == [("create", "gateway", "alice", 1)]


@pytest.mark.parametrize(("act", "generation"), [(Act.CREATE, 1), (Act.DELETE, None)], ids=["a creation", "a deletion"])
async def test_a_change_that_no_request_accounts_for_is_recorded_without_an_actor(
    store: Store, clock: Clock, act: Act, generation: int | None
) -> None:
    await see(store, by_manifest(act, generation), may_be_ours=True)
    clock.move(seconds=29)
    assert await store.write(audit.settle) == 0
    assert await store.read(audit.next_due) == T0 + GRACE
    clock.move(seconds=1)
    assert await store.write(audit.settle) == 1
    assert await store.read(audit.next_due) is None
    assert await acts(store) == [(act.value, "manifest", "", generation)]
    assert (await records(store))[0].at == T0
    assert await see(store, by_manifest(act, generation), may_be_ours=True) is None


async def test_an_act_that_changed_nothing_is_recorded_beside_the_one_that_did(store: Store) -> None:
    await see(store, by_manifest(Act.CREATE, 1))
    await add(store, by_request(Act.RESUME, 1))
    assert await acts(store) == [("create", "manifest", "", 1), ("resume", "gateway", "alice", 1)]


async def test_generations_that_nobody_saw_are_told_with_the_next_one(store: Store) -> None:
    await see(store, by_manifest(Act.UPDATE, 3))
    await see(store, by_manifest(Act.UPDATE, 4), may_be_ours=True)
    await see(store, by_manifest(Act.PAUSE, 5))
    found = [(one.act.value, one.generation, one.detail) for one in await records(store)]
    assert found == [("create", 3, {"unseenGenerations": 2}), ("pause", 5, {})]


def _change(conn: Connection) -> None:
    conn.execute(update(audit_tables.audit).where(audit_tables.audit.c.number == 2).values(actor="mallory"))


def _remove(conn: Connection) -> None:
    conn.execute(delete(audit_tables.audit).where(audit_tables.audit.c.number == 2))


def _cut(conn: Connection) -> None:
    conn.execute(delete(audit_tables.audit).where(audit_tables.audit.c.number == 3))


def _swap(conn: Connection) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        conn.execute(update(audit_tables.audit).where(audit_tables.audit.c.number == old).values(number=new))


def _scribble(conn: Connection) -> None:
    conn.execute(text("update audit set act = 'nothing' where number = 2"))


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        pytest.param(_change, "record 2 has a hash", id="a changed one"),
        pytest.param(_remove, "record 2 is missing", id="a removed one"),
        pytest.param(_cut, "head is record 3, but the chain ends with record 2", id="the newest one removed"),
        pytest.param(_swap, "record 2 does not continue", id="two in another order"),
        pytest.param(_scribble, "record after record 0 cannot be read", id="one that says nothing"),
    ],
)
async def test_a_record_that_was_tampered_with_is_named(store: Store, tamper: Any, named: str) -> None:
    for name in ("alice", "bob", "carol"):
        await add(store, by_request(Act.MESSAGE_CREATE, None, actor=name))
    assert await verify(store) == []
    await store.write(lambda work: tamper(work.conn))
    assert named in " ".join(await verify(store))


async def test_a_job_that_fails_leaves_no_record(store: Store) -> None:
    def fail(work: Any) -> None:
        audit.append(work, by_request())
        raise KeyError

    with pytest.raises(KeyError):
        await store.write(fail)
    assert await records(store) == []
    await add(store, by_request())
    assert await verify(store) == []


def test_each_field_of_a_record_is_covered_by_its_hash() -> None:
    record = by_request(at=T0)
    plain = audit.audit_hash(1, record, "")
    other: dict[str, Any] = {
        "act": Act.PAUSE, "by": Door.MANIFEST, "outcome": Verdict.REFUSED, "generation": 9, "detail": {"x": 1},
        "at": T0 + timedelta(microseconds=1),
    }  # fmt: skip
    for name in AuditRecord.__slots__:
        assert audit.audit_hash(1, replace(record, **{name: other.get(name, "other")}), "") != plain, name
    assert list(AuditCheck().read([SealedRecord(number=1, record=record, previous_hash="", hash=plain)])) == []
