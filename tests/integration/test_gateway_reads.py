"""What is read over HTTP and WebSocket, on a real API server: lists, streams, history, figures, files."""

import asyncio
import json
import sqlite3
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.integration.crds_cluster import Kubectl
from tests.integration.gateway_process import (
    PATH,
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    grant,
    mint,
    write_status,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
READER = "reader"
STRANGER = "stranger"
SEEN = ["session_start", "message", "state"]
"""What a session that starts has in its journal."""


@pytest.fixture(scope="module")
def gateway(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with a_namespace(cluster, "reads-test") as kubectl:
        gateway = GatewayProcess(kubectl, tmp_path_factory.mktemp("reads"))
        gateway.start()
        yield gateway
        gateway.kill()


@pytest.fixture(scope="module")
def home(cluster: Kubectl) -> Iterator[Kubectl]:
    """A namespace with an account that may read, and one that may not."""
    with a_namespace(cluster, "reads-home") as kubectl:
        for account in (READER, STRANGER):
            create_account(kubectl, account)
        grant(kubectl, READER, "get,list", "agentsessions,agentsessions/messages,agentsessions/events")
        yield kubectl


@pytest.fixture(scope="module")
def reader(gateway: GatewayProcess, home: Kubectl) -> Iterator[httpx2.Client]:
    with gateway.client(mint(home, READER), namespace=home.namespace) as client:
        eventually(lambda: client.get(PATH).status_code == 200, "the binding is known")
        yield client


@pytest.fixture(scope="module")
def stranger(gateway: GatewayProcess, home: Kubectl) -> Iterator[httpx2.Client]:
    with gateway.client(mint(home, STRANGER), namespace=home.namespace) as client:
        yield client


def begin(reader: httpx2.Client, home: Kubectl, name: str, **spec: Any) -> str:
    """Create a session that starts; return its uid once it is journaled."""
    uid = create_session(home, name, **spec)
    write_status(home, name, "Starting")
    eventually(lambda: reader.get(f"{PATH}/{name}").json().get("head") == len(SEEN), f"{name} is journaled")
    return uid


def end(reader: httpx2.Client, home: Kubectl, name: str) -> None:
    """Delete a session; return once that is known."""
    home("delete", "agentsession", name)
    eventually(lambda: "deletedAt" in reader.get(f"{PATH}/{name}").json(), f"{name} is deleted")


def events_of(response: httpx2.Response) -> list[dict[str, Any]]:
    """Return the events of a stream that has ended."""
    frames = [frame for frame in response.text.split("\n\n") if "data: " in frame]
    fields = [dict(line.split(": ", 1) for line in frame.splitlines()) for frame in frames]
    return [{"event": one["event"], **json.loads(one["data"])} for one in fields]


@pytest.mark.requirement("OPS-9")
@pytest.mark.requirement("STEP-3")
def test_sessions_are_found_by_what_their_resource_says(reader: httpx2.Client, home: Kubectl) -> None:
    begin(reader, home, "found", sessionId="mine-7", metadata={"case": "7"}, description="Look here")
    home("label", "agentsession", "found", "team=x")
    items = eventually(lambda: reader.get(PATH, params={"label": "team=x"}).json()["items"], "the label is known")
    assert [item["name"] for item in items] == ["found"]
    for query in (
        {"sessionId": "mine-7"},
        {"text": "look HERE"},
        {"phase": ["Starting", "Idle"], "sessionId": "mine-7"},
    ):
        assert [item["name"] for item in reader.get(PATH, params=query).json()["items"]] == ["found"], query
    for query in (
        {"label": "team=y"},
        {"owner": "nobody"},
        {"createdBefore": "2020-01-01T00:00:00Z"},
    ):
        assert reader.get(PATH, params=query).json()["total"] == 0, query
    whole = reader.get(f"{PATH}/found").json()
    assert (whole["sessionId"], whole["metadata"], whole["labels"]) == ("mine-7", {"case": "7"}, {"team": "x"})
    assert whole["updatedAt"]
    assert whole["lastActivity"]


@pytest.mark.requirement("OPS-9")
def test_a_list_is_read_on_by_cursor(reader: httpx2.Client, home: Kubectl) -> None:
    for number in range(3):
        create_session(home, f"leaf-{number}")
    query: dict[str, Any] = {"text": "leaf-", "sort": "name", "limit": 2}
    first = eventually(lambda: (p := reader.get(PATH, params=query).json())["total"] == 3 and p, "all are known")
    rest = reader.get(PATH, params={**query, "cursor": first["next"]}).json()
    assert [item["name"] for item in [*first["items"], *rest["items"]]] == ["leaf-0", "leaf-1", "leaf-2"]
    assert "next" not in rest
    other = reader.get(PATH, params={**query, "sort": "-name", "cursor": first["next"]})
    assert (other.status_code, other.json()["code"]) == (400, "bad_cursor")
    both = reader.get(PATH, params={**query, "offset": 1, "cursor": first["next"]})
    assert (both.status_code, both.json()["code"]) == (400, "bad_request")


@pytest.mark.requirement("STEP-3")
def test_what_was_deleted_is_listed_to_those_of_its_namespace(reader: httpx2.Client, home: Kubectl) -> None:
    uid = begin(reader, home, "bygone")
    end(reader, home, "bygone")
    assert reader.get(PATH, params={"text": "bygone"}).json()["total"] == 0
    found = reader.get(PATH, params={"text": "bygone", "deleted": True}).json()
    assert [item["uid"] for item in found["items"]] == [uid]
    assert found["items"][0]["deletedAt"]


def test_a_namespace_made_again_lists_nothing_of_the_one_before(cluster: Kubectl, gateway: GatewayProcess) -> None:
    def read_as(kubectl: Kubectl, holds: Callable[[dict[str, Any]], bool]) -> None:
        create_account(kubectl, READER)
        grant(kubectl, READER, "get,list", "agentsessions")
        with gateway.client(mint(kubectl, READER), namespace=kubectl.namespace) as client:

            def look() -> bool:
                answer = client.get(PATH, params={"deleted": True})
                return answer.status_code == 200 and holds(answer.json())

            eventually(look, "the list is as wanted")

    with a_namespace(cluster, "reads-reborn") as first:
        create_session(first, "secret")
        read_as(first, lambda page: page["total"] == 1)
        first("delete", "namespace", first.namespace)
        first("create", "namespace", first.namespace)
        read_as(first, lambda page: page["total"] == 0)


@pytest.mark.requirement("ID-1")
@pytest.mark.parametrize(
    ("path", "right"),
    [
        (f"{PATH}/any/replay", "get agentsessions/events"),
        (f"{PATH}/any/export", "get agentsessions/messages"),
        (f"{PATH}/any/health", "get agentsessions."),
        (f"{PATH}/any/metrics", "get agentsessions."),
        ("/api/v1/stats", "list agentsessions."),
        ("/api/v1/metrics", "list agentsessions."),
        ("/api/v1/compare?left={ns}/a&right={ns}/b", "get agentsessions/messages"),
    ],
)
def test_each_route_needs_its_right(stranger: httpx2.Client, home: Kubectl, path: str, right: str) -> None:
    response = stranger.get(path.replace("{ns}", home.namespace))
    assert (response.status_code, response.json()["code"]) == (403, "forbidden")
    assert right in response.json()["detail"]


def follow(
    gateway: GatewayProcess,
    home: Kubectl,
    name: str,
    token: str | None,
    *,
    protocols: list[str] | None = None,
    **query: str,
) -> connect:
    """Open a WebSocket on a session: on an event loop, for two threads may not share a TLS connection."""
    asked = "&".join(f"{key}={value}" for key, value in {"namespace": home.namespace, **query}.items())
    return connect(
        f"wss://localhost:{gateway.port}{PATH}/{name}/ws?{asked}",
        ssl=ssl.create_default_context(cadata=gateway.ca()),
        additional_headers={"Authorization": f"Bearer {token}"} if token else None,
        subprotocols=[Subprotocol(one) for one in protocols] if protocols else None,
        proxy=None,
    )


@pytest.mark.requirement("STEP-2")
async def test_a_websocket_tells_what_the_event_stream_tells(
    gateway: GatewayProcess, reader: httpx2.Client, home: Kubectl
) -> None:
    begin(reader, home, "socket")
    async with asyncio.timeout(60), follow(gateway, home, "socket", mint(home, READER)) as socket:
        told = [json.loads(await socket.recv()) for _ in SEEN]
        assert [(one["id"], one["event"]) for one in told] == [(1, SEEN[0]), (2, SEEN[1]), (3, SEEN[2])]
        write_status(home, "socket", "Failed", stopReason="Timeout")
        told += [json.loads(await socket.recv()) for _ in range(2)]
        assert [one["event"] for one in told[-2:]] == ["state", "done"]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1000
    assert [one["data"] for one in told] == [
        {key: value for key, value in one.items() if key != "event"}
        for one in events_of(reader.get(f"{PATH}/socket/events"))
    ]


@pytest.mark.requirement("STEP-2")
async def test_a_browser_brings_its_token_as_a_subprotocol(
    gateway: GatewayProcess, reader: httpx2.Client, home: Kubectl
) -> None:
    begin(reader, home, "browser")
    offered = ["agentsessions.v1", f"bearer.{mint(home, READER)}"]
    async with asyncio.timeout(60), follow(gateway, home, "browser", None, protocols=offered, after="2") as socket:
        assert json.loads(await socket.recv())["id"] == 3
        assert socket.subprotocol == "agentsessions.v1"


@pytest.mark.requirement("ID-1")
async def test_a_websocket_is_refused_in_its_handshake(
    gateway: GatewayProcess, reader: httpx2.Client, home: Kubectl
) -> None:
    begin(reader, home, "closed")
    for name, token, status in (
        ("closed", None, 401),
        ("closed", mint(home, STRANGER), 403),
        ("nobody", mint(home, READER), 404),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await follow(gateway, home, name, token)
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body or b"{}")["status"] == status


@pytest.mark.requirement("STEP-4")
def test_a_session_is_told_again_and_compared_after_its_resource_is_gone(reader: httpx2.Client, home: Kubectl) -> None:
    for name in ("one", "two"):
        begin(reader, home, name, goal=f"goal of {name}")
        end(reader, home, name)
    told = events_of(reader.get(f"{PATH}/one/replay", params={"speed": 0, "from": 2}))
    assert [one["event"] for one in told] == ["message", "state", "end"]
    last = {"Last-Event-ID": "3"}
    assert reader.get(f"{PATH}/one/replay", headers=last).status_code == 204
    ns = home.namespace
    found = reader.get("/api/v1/compare", params={"left": f"{ns}/one", "right": f"{ns}/two"}).json()
    assert (found["left"]["name"], found["right"]["name"], found["isSame"]) == ("one", "two", True)
    rounds = reader.get("/api/v1/compare", params={"left": f"{ns}/one", "right": f"{ns}/two", "leftRound": 1})
    assert rounds.status_code == 400


@pytest.mark.requirement("OPS-1")
@pytest.mark.requirement("OPS-2")
def test_figures_are_of_a_session_of_all_and_of_a_period(reader: httpx2.Client, home: Kubectl) -> None:
    begin(reader, home, "counted")
    health = reader.get(f"{PATH}/counted/health").json()
    assert (health["status"], health["messageQueue"], health["errorRate"]) == ("healthy", 0, 0.0)
    assert (health["memoryBytes"], health["cpuCores"]) == (None, None)
    assert health["resourcesReason"]
    figures = reader.get(f"{PATH}/counted/metrics").json()
    assert (figures["messagesProcessed"], figures["averageResponseMilliseconds"]) == (0, None)
    stats = reader.get("/api/v1/stats").json()
    assert stats["byPhase"]["Starting"] >= 1
    assert stats["total"] == sum(stats["byType"].values()) == sum(stats["byRole"].values())
    assert reader.get("/api/v1/stats", params={"text": "counted"}).json()["total"] == 1
    period = reader.get("/api/v1/metrics", params={"period": "1h"}).json()
    assert period["sessions"] >= stats["total"]
    one = reader.get("/api/v1/metrics", params={"period": "1h", "text": "counted", "role": "Worker"}).json()
    assert (one["sessions"], one["finished"]) == (1, 0)
    assert reader.get("/api/v1/metrics", params={"period": "a week"}).status_code == 422


@pytest.mark.requirement("STEP-5")
def test_a_session_goes_from_one_journal_to_another_as_a_file(
    reader: httpx2.Client, home: Kubectl, cluster: Kubectl, tmp_path: Path
) -> None:
    uid = begin(reader, home, "travels")
    file = reader.get(f"{PATH}/travels/export")
    assert file.headers["content-type"] == "application/zstd"
    refused = reader.post("/api/v1/import", content=file.content)
    assert (refused.status_code, "create agentsessions/import" in refused.json()["detail"]) == (403, True)
    grant(home, READER, "create", "agentsessions/import")
    known = eventually(
        lambda: (a := reader.post("/api/v1/import", content=file.content)).status_code != 403 and a, "may"
    )
    assert (known.status_code, known.json()["code"]) == (409, "session_exists")
    with a_namespace(cluster, "reads-other") as kubectl:
        other = GatewayProcess(kubectl, tmp_path)
        other.start()
        try:
            with other.client(mint(home, READER), namespace=home.namespace) as client:
                damaged = client.post("/api/v1/import", content=file.content[:-20])
                assert (damaged.status_code, damaged.json()["code"]) == (422, "bad_archive")
                home("delete", "agentsession", "travels")
                answer = client.post("/api/v1/import", content=file.content)
                # The other gateway watches the same cluster: it knows the session by itself until that is forgotten.
                assert (answer.status_code, answer.json()["code"]) == (409, "session_exists")
                forget(other, uid)
                taken = client.post("/api/v1/import", content=file.content)
                assert (taken.status_code, taken.json()["uid"], taken.json()["head"]) == (201, uid, 3)
                assert client.get(f"{PATH}/{uid}/verify").json()["ok"]
                assert client.get(f"{PATH}/{uid}").json()["deletedAt"]
                assert client.get(f"{PATH}/{uid}/steps").json()["items"] == []
        finally:
            other.kill()


def forget(gateway: GatewayProcess, uid: str) -> None:
    """Take a session out of a gateway's journal."""
    with closing(sqlite3.connect(gateway.folder / "journal.db", timeout=20)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            if any(column[1] == "session_uid" for column in database.execute(f"PRAGMA table_info({table})")):
                database.execute(f"DELETE FROM {table} WHERE session_uid = ?", (uid,))  # noqa: S608 - names of tables
        database.execute("DELETE FROM sessions WHERE uid = ?", (uid,))
        database.commit()


@pytest.mark.requirement("STEP-5")
def test_a_tampered_row_is_named(gateway: GatewayProcess, reader: httpx2.Client, home: Kubectl) -> None:
    uid = begin(reader, home, "tampered")
    level = reader.get(f"{PATH}/tampered/verify").json()
    assert level["ok"]
    anchor = {"head": level["head"], "digest": level["digest"]}
    write_status(home, "tampered", "Running", journal=anchor)
    eventually(lambda: reader.get(f"{PATH}/tampered").json()["phase"] == "Running", "the anchor is known")
    assert reader.get(f"{PATH}/tampered/verify").json()["ok"]
    with closing(sqlite3.connect(gateway.folder / "journal.db", timeout=20)) as database:
        query = "SELECT hash FROM entries WHERE session_uid = ? AND seq = 2"
        (digest,) = database.execute(query, (uid,)).fetchone()
        database.execute("DELETE FROM entries WHERE session_uid = ? AND seq > 2", (uid,))
        database.execute("UPDATE usage SET head = 2, digest = ? WHERE session_uid = ?", (digest, uid))
        database.commit()
    found = reader.get(f"{PATH}/tampered/verify").json()
    assert not found["ok"]
    assert found["problems"] == [
        f"entry 3 is missing: the status said that it was the newest, with hash {anchor['digest']}"
    ]


def test_a_namespace_says_how_long_its_sessions_are_kept(
    gateway: GatewayProcess, cluster: Kubectl, reader: httpx2.Client, home: Kubectl
) -> None:
    uid = begin(reader, home, "forgotten")
    end(reader, home, "forgotten")
    cluster("annotate", "namespace", home.namespace, "agentsessions.dev/journal-retention=1h")
    with closing(sqlite3.connect(gateway.folder / "journal.db", timeout=20)) as database:
        database.execute("UPDATE sessions SET deleted_at = '2020-01-01 00:00:00.000000' WHERE uid = ?", (uid,))
        database.commit()
    gateway.stop()
    gateway.start()  # it looks at its start, and then every ten minutes
    eventually(lambda: reader.get(f"{PATH}/{uid}").status_code == 404, "the session is removed")
    eventually(lambda: "sessions removed from the journal" in gateway.log(), "it is told")
