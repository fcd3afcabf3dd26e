"""Parts around the ledger: the status of quotas, what namespaces spent, own ids."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from agentsessions.api.reasons import Reason
from agentsessions.api.spending import Spent
from agentsessions.controller.admissions import Usage
from agentsessions.controller.levels import GatewayAwayError
from agentsessions.controller.ownids import OwnIds
from agentsessions.controller.quotas import build_status, ready_condition
from agentsessions.controller.spending import Spending
from agentsessions.controller.store import Sessions
from agentsessions.controller.views import QuotaRecord, SessionRecord, to_quota
from tests.builders import T0

pytestmark = pytest.mark.requirement("LIM-4")

USAGE = Usage(active=3, queued=1, queue=("d",), started=2, spent=Spent(tokens=7), next_at=None)
UNKNOWN = Usage(active=3, queued=1, queue=("d",), started=2, spent=None, next_at=None)


def a_quota(status: dict[str, Any] | None = None, **spec: Any) -> QuotaRecord:
    meta = {"name": "small", "namespace": "team", "uid": "q", "generation": 2, "resourceVersion": "5"}
    return to_quota({"metadata": meta, "spec": spec, "status": status or {}})


@pytest.mark.parametrize(
    ("quota", "usage", "want"),
    [
        pytest.param(a_quota(maxConcurrentSessions=3), UNKNOWN, ("True", Reason.ACCEPTED), id="places need no gateway"),
        pytest.param(a_quota(maxTokensPerDay=9), USAGE, ("True", Reason.ACCEPTED), id="tokens are known"),
        pytest.param(a_quota(maxTokensPerDay=9), UNKNOWN, ("False", Reason.USAGE_UNKNOWN), id="tokens are not known"),
        pytest.param(a_quota(hold=True), USAGE, ("True", Reason.NAMESPACE_HELD), id="a hold is in force"),
        pytest.param(a_quota(maxMoons=1), USAGE, ("False", Reason.INVALID_SPEC), id="a spec of another version"),
    ],
)
def test_ready_condition_says_whether_a_quota_is_in_force(
    quota: QuotaRecord, usage: Usage, want: tuple[str, str]
) -> None:
    condition = ready_condition(quota, usage, T0)
    assert (condition.status, condition.reason) == want


def test_build_status_is_the_same_while_nothing_changes() -> None:
    quota = a_quota(maxConcurrentSessions=3)
    first = build_status(quota, USAGE, T0)
    again = a_quota(first.to_json(), maxConcurrentSessions=3)
    assert build_status(again, USAGE, T0 + timedelta(hours=1)) == first
    assert (first.active, first.queued, first.queue, first.tokens_today) == (3, 1, ["d"], 7)


def test_build_status_keeps_figures_that_are_unknown_now() -> None:
    told = build_status(a_quota(maxTokensPerDay=9), USAGE, T0)
    unknown = build_status(a_quota(told.to_json(), maxTokensPerDay=9), UNKNOWN, T0)
    assert unknown.tokens_today == 7


class Journal:
    """A gateway's answers, as a test sets them."""

    def __init__(self) -> None:
        self.now = T0
        self.spent: dict[str, Spent] | None = {}
        self.told: list[tuple[str, bool]] = []
        self.spending = Spending(self.fetch, lambda: ["team"], clock=lambda: self.now)
        self.spending.on_change = lambda namespace, is_turn: self.told.append((namespace, is_turn))

    async def fetch(self, namespaces: Collection[str]) -> Mapping[str, Spent]:
        if self.spent is None:
            raise GatewayAwayError("away")
        return {namespace: self.spent.get(namespace, Spent()) for namespace in namespaces}

    async def refresh(self, *, seconds: int = 2) -> list[tuple[str, bool]]:
        """Let time pass, ask once, and return what was told."""
        self.now += timedelta(seconds=seconds)
        self.told.clear()
        await self.spending.refresh(["team"])
        return self.told


async def test_spending_is_unknown_until_it_is_heard_and_soon_after_the_gateway_is_lost() -> None:
    journal = Journal()
    assert journal.spending.get("team") is None
    journal.spent = None
    assert await journal.refresh() == []
    journal.spent = {"team": Spent(tokens=5)}
    assert await journal.refresh() == [("team", True)]
    assert journal.spending.get("team") == Spent(tokens=5)
    journal.spent = None
    assert await journal.refresh(seconds=9) == []
    assert journal.spending.get("team") == Spent(tokens=5), "believed for some seconds"
    assert await journal.refresh(seconds=1) == [("team", True)]
    assert journal.spending.get("team") is None


async def test_spending_tells_changes_and_nothing_else() -> None:
    journal = Journal()
    await journal.refresh()
    assert await journal.refresh() == []
    journal.spent = {"team": Spent(tokens=5)}
    assert await journal.refresh() == [("team", False)]


class Ids:
    """Sessions with own ids, and who has which."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self.ids = OwnIds(self.sessions)

    def put(self, name: str, *, at: datetime = T0, status: dict[str, Any] | None = None, **spec: Any) -> None:
        meta = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": "1"}
        meta["creationTimestamp"] = at.isoformat()
        spec = {"goal": "count", "sessionId": "sales", **spec}
        self.sessions.put({"metadata": meta, "spec": spec, "status": status or {}})

    def record(self, name: str) -> SessionRecord:
        record = self.sessions.get(f"team/{name}")
        assert record is not None
        return record

    def claim(self, name: str) -> str:
        """Return the name of the session that has the id instead; empty when `name` has it."""
        other = self.ids.claim(self.record(name).view)
        return other.name if other else ""


@pytest.mark.requirement("OBJ-5")
def test_the_older_session_has_the_id_whoever_asks_first() -> None:
    ids = Ids()
    ids.put("old", at=T0 - timedelta(seconds=1))
    ids.put("young")
    assert (ids.claim("young"), ids.claim("old")) == ("old", "")


@pytest.mark.requirement("OBJ-5")
def test_of_two_sessions_of_one_second_one_has_the_id() -> None:
    ids = Ids()
    ids.put("b")
    assert ids.claim("b") == ""
    ids.put("a")
    assert ids.claim("a") == "b", "it was told already that it may have it"


@pytest.mark.requirement("OBJ-5")
def test_an_accepted_session_keeps_its_id_after_a_restart() -> None:
    ids = Ids()
    ids.put("b", status={"phase": "Running", "specDigest": "d"})
    ids.put("a")
    assert ids.claim("a") == "b"


@pytest.mark.requirement("OBJ-5")
def test_an_id_is_the_owners_own() -> None:
    ids = Ids()
    ids.put("mine", owner="alice")
    ids.put("yours", owner="bob")
    ids.put("nobodys")
    ids.put("other", owner="alice", sessionId="another")
    assert [ids.claim(name) for name in ("mine", "yours", "nobodys", "other")] == ["", "", "", ""]


@pytest.mark.requirement("OBJ-5")
def test_the_id_of_a_session_that_is_gone_is_free() -> None:
    ids = Ids()
    ids.put("old", at=T0 - timedelta(seconds=1))
    ids.put("young")
    assert ids.claim("old") == ""
    gone = ids.sessions.remove("team/old")
    assert gone is not None
    assert [session.name for session in ids.ids.release(gone.view)] == ["young"]
    assert ids.claim("young") == ""
