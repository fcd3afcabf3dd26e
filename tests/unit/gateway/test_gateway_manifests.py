"""Changes made past the gateway: what is seen of them, and that each is audited once."""

from typing import Any

import pytest

from agentsessions.gateway.manifests import FIELD_MANAGER, ManifestActs
from agentsessions.gateway.watch import to_view
from agentsessions.journal import audit
from agentsessions.journal.acts import Act, AuditRecord, Door, Verdict
from agentsessions.journal.audit import AuditQuery
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock, a_session

pytestmark = pytest.mark.requirement("ID-4")

T1, T2 = "2026-11-01T12:00:01Z", "2026-11-01T12:00:02Z"
Managers = list[tuple[str, str]]


def a_resource(generation: int, managers: Managers, uid: str = "u1", **spec: Any) -> dict[str, Any]:
    status = {
        "manager": "operator",
        "subresource": "status",
        "time": "2027-01-01T00:00:00Z",
        "fieldsV1": {"f:spec": {}},
    }
    fields = [{"manager": name, "time": at, "fieldsV1": {"f:spec": {}}} for name, at in managers]
    return {
        "metadata": {
            "namespace": "team",
            "name": "sales",
            "uid": uid,
            "generation": generation,
            "resourceVersion": str(generation),
            "creationTimestamp": "2026-11-01T12:00:00Z",
            "managedFields": [*fields, {"manager": "labels", "time": T2, "fieldsV1": {"f:metadata": {}}}, status],
        },
        "spec": {"goal": "Count.", **spec},
    }


class Cluster:
    """Shows versions of one session, as the watch does."""

    def __init__(self, acts: ManifestActs) -> None:
        self._acts = acts
        self._before: dict[str, Any] | None = None

    def shows(self, generation: int, managers: Managers, **spec: Any) -> None:
        raw = a_resource(generation, managers, **spec)
        self._acts.note(raw, to_view(self._before) if self._before else None)
        self._before = raw


async def namespace_uid(name: str) -> str:
    return f"{name}-uid"


@pytest.fixture
def acts(store: Store, clock: Clock) -> ManifestActs:
    return ManifestActs(store, clock, namespace_uid)


async def records(store: Store, acts: ManifestActs, count: int) -> list[AuditRecord]:
    """Return the records, oldest first, once what was seen is written."""
    await acts.write()
    found = await store.read(audit.list_records, AuditQuery())
    assert len(found) == count
    return [sealed.record for sealed in reversed(found)]


async def test_each_change_by_manifest_has_one_record_with_what_kubernetes_tells(
    store: Store, acts: ManifestActs
) -> None:
    cluster = Cluster(acts)
    cluster.shows(1, [("kubectl", T1)])
    cluster.shows(1, [("kubectl", T1)])
    cluster.shows(2, [("kubectl", T1), ("argocd", T2)], operatingMode="Paused")
    created, paused = await records(store, acts, 2)
    assert (created.act, created.by, created.actor, created.generation) == (Act.CREATE, Door.MANIFEST, "", 1)
    assert (created.field_manager, created.namespace_uid, created.session_name) == ("kubectl", "team-uid", "sales")
    assert (paused.act, paused.field_manager, paused.generation) == (Act.PAUSE, "argocd", 2)
    assert (created.at, paused.at) == (T0.replace(second=1), T0.replace(second=2))


async def test_two_changes_in_one_second_are_told_apart(store: Store, acts: ManifestActs) -> None:
    cluster = Cluster(acts)
    cluster.shows(1, [(FIELD_MANAGER, T1)])
    cluster.shows(2, [(FIELD_MANAGER, T1), ("kubectl", T1)], title="New")
    (found,) = await records(store, acts, 1)
    assert (found.generation, found.field_manager) == (2, "kubectl")


async def test_a_second_gateway_that_sees_the_same_adds_nothing(store: Store, acts: ManifestActs, clock: Clock) -> None:
    other = ManifestActs(store, clock, namespace_uid)
    for one in (acts, other):
        cluster = Cluster(one)
        cluster.shows(1, [("kubectl", T1)])
        cluster.shows(2, [("kubectl", T2)], operatingMode="Cancelled")
    await other.write()
    assert [one.act for one in await records(store, acts, 2)] == [Act.CREATE, Act.CANCEL]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([("kubectl", T1)], [("kubectl", T1), (FIELD_MANAGER, T2)], id="it carries the gateway's manager"),
        pytest.param([("kubectl", T1)], [("kubectl", T1)], id="it only removed fields"),
        pytest.param([(FIELD_MANAGER, T1)], [(FIELD_MANAGER, T2), ("kubectl", T2)], id="two came in one second"),
    ],
)
async def test_a_change_that_may_be_a_request_s_waits_for_its_record(
    store: Store, acts: ManifestActs, clock: Clock, before: Managers, after: Managers
) -> None:
    cluster = Cluster(acts)
    cluster.shows(1, before)
    cluster.shows(2, after, title="New")
    await acts.write()
    fields = {"namespace": "team", "session_uid": "u1", "actor": "alice"}
    mine = AuditRecord(act=Act.UPDATE, by=Door.GATEWAY, outcome=Verdict.DONE, generation=2, **fields)
    await store.write(lambda work: audit.append(work, mine))
    clock.move(seconds=60)
    found = await records(store, acts, 2)
    assert sorted(one.by.value for one in found if one.generation == 2) == ["gateway"]


async def test_a_change_of_ours_whose_request_died_is_recorded_after_a_while(
    store: Store, acts: ManifestActs, clock: Clock
) -> None:
    Cluster(acts).shows(1, [(FIELD_MANAGER, T1)])
    await acts.write()
    assert await store.read(audit.list_records, AuditQuery()) == []
    clock.move(seconds=60)
    (found,) = await records(store, ManifestActs(store, clock, namespace_uid), 1)
    assert (found.act, found.by, found.field_manager) == (Act.CREATE, Door.MANIFEST, FIELD_MANAGER)


async def test_a_change_that_was_made_while_no_gateway_was_there_is_found(
    store: Store, acts: ManifestActs, clock: Clock
) -> None:
    Cluster(acts).shows(1, [("kubectl", T1)])
    await acts.write()
    next_process = ManifestActs(store, clock, namespace_uid)
    Cluster(next_process).shows(3, [("kubectl", T1), ("argocd", T2)])
    await next_process.write()
    clock.move(seconds=60)
    _, found = await records(store, ManifestActs(store, clock, namespace_uid), 2)
    assert (found.act, found.generation, found.field_manager) == (Act.UPDATE, 3, "argocd")
    assert found.detail == {"unseenGenerations": 1}


async def test_a_deletion_past_the_gateway_is_recorded_once(store: Store, acts: ManifestActs, clock: Clock) -> None:
    await store.put_session(a_session("u1", namespace="team", name="sales", namespace_uid="team-uid"))
    await acts.note_end("u1")
    await acts.note_end("u1")
    clock.move(seconds=60)
    (found,) = await records(store, acts, 1)
    assert (found.act, found.by, found.at, found.session_name) == (Act.DELETE, Door.MANIFEST, T0, "sales")
    await acts.note_end("u1")
    assert await store.read(audit.next_due) is None


async def test_a_session_that_came_and_went_unseen_by_the_journal_has_both_records(
    store: Store, acts: ManifestActs, clock: Clock
) -> None:
    Cluster(acts).shows(1, [("kubectl", T1)])
    await acts.note_end("u1")
    clock.move(seconds=60)
    created, deleted = await records(store, acts, 2)
    assert (created.act, deleted.act) == (Act.CREATE, Act.DELETE)
    assert (deleted.namespace, deleted.session_name) == ("team", "sales")
