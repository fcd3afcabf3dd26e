"""What a receiver gets: signed, in order, again after failures and crashes, and never at others' expense."""

import asyncio
import sys
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.gateway.webhooks.sender import judge
from agentsessions.journal.outbox import read_receivers
from agentsessions.journal.store import Store, utc_now
from tests.journal.builders import T0, a_session
from tests.process.proxy.cluster import Cluster
from tests.process.proxy.house import LONG_SECONDS, until
from tests.process.webhooks.receiver import KEY, OTHER_KEY, Receiver, is_signed
from tests.process.webhooks.sending import sending

pytestmark = pytest.mark.requirement("OPS-4")

PHASES = (Phase.STARTING, Phase.RUNNING, Phase.COMPLETED)
PROGRAM = Path(__file__).parent / "sending.py"


async def put_webhook(cluster: Cluster, url: str, name: str = "hook", **spec: Any) -> None:
    """Create a webhook, and wait until it is looked at."""
    keys = [{"name": "hook", "key": "key"}]
    cluster.put("sessionwebhooks", "team", name, spec={"url": url, "secretKeyRefs": keys, **spec})
    await until(lambda: bool(status_of(cluster, name)))


def status_of(cluster: Cluster, name: str = "hook") -> dict[str, Any]:
    found: dict[str, Any] = cluster.find("sessionwebhooks", "team", name).get("status") or {}
    return found


def ready_of(cluster: Cluster, name: str = "hook") -> tuple[str, str, str]:
    (condition,) = status_of(cluster, name)["conditions"]
    return condition["status"], condition["reason"], condition["message"]


async def live(store: Store, *phases: Phase, uid: str = "s1", **changes: Any) -> None:
    """Let a session go through phases."""
    for number, phase in enumerate(phases):
        at = T0 + timedelta(seconds=number)
        row = a_session(uid, namespace="team", phase=phase, phase_started_at=at, reason=phase, **changes)
        await store.put_session(row)


async def test_receiver_gets_each_transition_once_signed_and_in_order(
    cluster: Cluster, receiver: Receiver, journal_url: str
) -> None:
    both = [{"name": "hook", "key": "key"}, {"name": "hook", "key": "next"}]
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/in?from=us", secretKeyRefs=both)
        assert ready_of(cluster) == ("True", "Accepted", "")
        for uid in ("s1", "s2"):
            await live(store, *PHASES, uid=uid)
        await receiver.wait(lambda: len(receiver.requests) == 6)
        await until(lambda: status_of(cluster).get("delivered") == 6)
    for uid in ("s1", "s2"):
        assert [r.to for r in receiver.requests if r.event["data"]["session"]["uid"] == uid] == list(PHASES)
    assert len({request.id for request in receiver.requests}) == 6
    for request in receiver.requests:
        assert is_signed(request.headers, request.body, KEY)
        assert is_signed(request.headers, request.body, OTHER_KEY)
        assert request.headers["content-type"] == "application/cloudevents+json"
        assert request.event["id"] == request.id
        assert abs(int(request.headers["webhook-timestamp"]) - utc_now().timestamp()) < LONG_SECONDS


async def test_receiver_that_fails_gets_the_same_again_before_what_follows(
    cluster: Cluster, receiver: Receiver, journal_url: str
) -> None:
    receiver.statuses["/in"] = deque([500, 404])
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/in")
        await live(store, *PHASES)
        await receiver.wait(lambda: len(receiver.requests) == 5)
    assert [request.to for request in receiver.requests] == ["Starting", "Starting", "Starting", "Running", "Completed"]
    assert len({(request.id, request.body) for request in receiver.requests[:3]}) == 1


async def test_status_tells_why_a_receiver_takes_nothing(
    cluster: Cluster, receiver: Receiver, journal_url: str
) -> None:
    receiver.statuses["/in"] = deque([302] * 10_000)
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/in")
        await live(store, Phase.STARTING)
        await until(lambda: ready_of(cluster)[0] == "False")
        _, reason, message = ready_of(cluster)
        assert reason == "DeliveryFailing"
        assert message == f"the last request failed: {judge(302)}"
        receiver.statuses.clear()
        await until(lambda: ready_of(cluster)[0] == "True")
        assert status_of(cluster)["delivered"] == 1
        assert status_of(cluster)["failures"] == 0
    assert receiver.to("/elsewhere") == []


async def test_slow_receiver_holds_up_no_other_one(cluster: Cluster, receiver: Receiver, journal_url: str) -> None:
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/held", "slow", timeoutSeconds=30)
        await put_webhook(cluster, f"{receiver.url}/in", "quick")
        for number in range(8):
            await live(store, *PHASES, uid=f"s{number}")
        await receiver.wait(lambda: len(receiver.to("/in")) == 24)
        held = receiver.to("/held")
        assert 1 <= len(held) <= 4
        receiver.gate.set()
        await receiver.wait(lambda: len(receiver.to("/held")) == 24)
    assert {request.id for request in receiver.to("/held")} == {request.id for request in receiver.to("/in")}


async def test_receiver_that_does_not_answer_in_time_has_failed(
    cluster: Cluster, receiver: Receiver, journal_url: str
) -> None:
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/held", timeoutSeconds=1)
        await live(store, Phase.STARTING)
        await receiver.wait(lambda: len(receiver.requests) == 2)
        await until(lambda: ready_of(cluster)[2] == "the last request failed: no answer within 1 s")


async def test_body_of_an_answer_is_not_waited_for(cluster: Cluster, receiver: Receiver, journal_url: str) -> None:
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/endless", timeoutSeconds=30)
        await live(store, *PHASES)
        await receiver.wait(lambda: len(receiver.requests) == 3)


async def test_address_that_is_not_allowed_is_never_dialled(
    cluster: Cluster, receiver: Receiver, journal_url: str
) -> None:
    async with sending(cluster.url, journal_url, networks=()) as store:
        await put_webhook(cluster, receiver.url.replace("127.0.0.1", "localhost") + "/in")
        await live(store, Phase.STARTING)
        await until(lambda: ready_of(cluster)[0] == "False")
        assert "leads to localhost" in ready_of(cluster)[2]
        assert "a loopback, link-local, private or cluster address" in ready_of(cluster)[2]
    assert receiver.requests == []


async def test_webhook_without_its_key_says_so_and_goes_on_once_it_is_there(
    cluster: Cluster, receiver: Receiver, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsessions.gateway.webhooks.directory.LOOK_SECONDS", 0.01)
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/in", secretKeyRefs=[{"name": "later", "key": "key"}])
        assert ready_of(cluster)[:2] == ("False", "SecretNotReadable")
        await live(store, Phase.STARTING)
        cluster.put_secret("team", "later", key=KEY)
        await receiver.wait(lambda: len(receiver.requests) == 1)
        await until(lambda: ready_of(cluster)[0] == "True")


async def test_suspended_webhook_is_sent_what_waited_when_it_goes_on(
    cluster: Cluster, receiver: Receiver, journal_url: str
) -> None:
    url, keys = f"{receiver.url}/in", [{"name": "hook", "key": "key"}]
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, url, suspend=True)
        await put_webhook(cluster, f"{receiver.url}/other", "other")
        assert ready_of(cluster)[:2] == ("True", "Suspended")
        await live(store, *PHASES)
        await receiver.wait(lambda: len(receiver.to("/other")) == 3)
        assert receiver.to("/in") == []
        cluster.put("sessionwebhooks", "team", "hook", generation=2, spec={"url": url, "secretKeyRefs": keys})
        await receiver.wait(lambda: len(receiver.to("/in")) == 3)


async def test_transition_that_is_given_up_is_told_by_an_event(
    cluster: Cluster, receiver: Receiver, journal_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentsessions.lifecycle.webhooks.GIVEN_UP_AFTER", timedelta())
    receiver.statuses["/in"] = deque([503])
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/in")
        await live(store, *PHASES)
        await receiver.wait(lambda: len(receiver.requests) == 3)
        await until(lambda: len(cluster.events) == 1 and status_of(cluster).get("delivered") == 2)
        assert status_of(cluster)["lost"] == 1
    assert [request.to for request in receiver.requests] == list(PHASES)
    assert cluster.events[0]["reason"] == "DeliveryGivenUp"
    assert cluster.events[0]["note"].endswith("was given up after 1 requests, the last one: the receiver answered 503")


async def test_webhook_deleted_while_no_gateway_was_there_is_forgotten(
    cluster: Cluster, receiver: Receiver, journal_url: str
) -> None:
    async with sending(cluster.url, journal_url) as store:
        await put_webhook(cluster, f"{receiver.url}/in")
        await put_webhook(cluster, f"{receiver.url}/kept", "kept")
    cluster.remove("sessionwebhooks", "team", "hook")
    async with sending(cluster.url, journal_url) as store, asyncio.timeout(LONG_SECONDS):
        while await store.read(read_receivers) != {"uid-team-kept"}:  # noqa: ASYNC110 - another task's state
            await asyncio.sleep(0.005)


@pytest.mark.requirement("LIFE-11")
async def test_what_was_sent_when_the_gateway_was_killed_is_sent_again_with_its_id(
    cluster: Cluster, receiver: Receiver, journal_url: str
) -> None:
    async with sending(cluster.url, journal_url):
        await put_webhook(cluster, f"{receiver.url}/held", timeoutSeconds=30)
    store = await Store.open(journal_url)
    await live(store, *PHASES)
    await store.close()
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), cluster.url, journal_url, env={"PYTHONPATH": "operator:."}
    )
    await receiver.wait(lambda: len(receiver.requests) == 1)
    program.kill()
    await program.wait()
    receiver.gate.set()
    async with sending(cluster.url, journal_url):
        await receiver.wait(lambda: len(receiver.requests) == 4)
        await until(lambda: status_of(cluster).get("delivered") == 3)
    assert [request.to for request in receiver.requests] == ["Starting", *PHASES]
    assert receiver.requests[0].id == receiver.requests[1].id
    assert receiver.requests[0].body == receiver.requests[1].body
