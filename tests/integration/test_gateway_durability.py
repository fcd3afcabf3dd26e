"""What got a 2xx is there: many send messages while the gateway is killed again and again, and an agent answers them.

Gateway and runner are processes of their own, the API server is a real one; the test plays the operator.
"""

import asyncio
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hack.postgres.localpostgres.programs import ensure_programs
from hack.postgres.localpostgres.server import Server, create_folder
from tests.integration.crds_cluster import Kubectl, a_provider
from tests.integration.gateway_process import (
    PATH,
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    grant,
    mint,
    mint_for_pod,
    write_status,
)
from tests.integration.runner_process import RunnerProcess

pytestmark = pytest.mark.cluster
NAME = "talk"
MESSAGES = f"{PATH}/{NAME}/messages"
SENDERS = 4
ECHO = {"rules": [{"answer": {"text": "You said: ${text}"}}]}
PAGE = 1000
DATABASE = "journal"
Json = dict[str, Any]


@dataclass
class Conversation:
    """A session, a runner that plays it, and people who talk to it."""

    gateway: GatewayProcess
    home: Kubectl
    stored: dict[str, str] = field(default_factory=dict)
    """Id that the gateway acknowledged, by content."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, client: httpx2.Client, content: str) -> None:
        """Send a message until it is acknowledged, as any client does: with the same key."""
        body = {"content": content, "idempotencyKey": content}

        def is_stored() -> bool:
            try:
                answer = client.post(MESSAGES, json=body)
            except httpx2.TransportError:
                return False
            if not answer.is_success:
                assert answer.status_code in {425, 429, 502, 503, 504}, answer.text
                return False
            with self._lock:
                self.stored[content] = answer.json()["id"]
            return True

        eventually(is_stored, f"message {content!r} is stored")

    def send_many(self, token: str, contents: list[str], pause_seconds: float) -> None:
        with self.gateway.client(token, namespace=self.home.namespace) as client:
            for content in contents:
                self.send(client, content)
                time.sleep(pause_seconds)  # people talk as long as the storm lasts

    def messages(self, client: httpx2.Client) -> list[Json]:
        """Return all messages that people sent, in order."""
        found: list[Json] = []
        after: int | None = 0
        while after is not None:
            page = client.get(MESSAGES, params={"after": after, "limit": PAGE, "role": "user"}).json()
            found += page["items"]
            after = page.get("next")
        return found


@pytest.fixture
def home(cluster: Kubectl) -> Iterator[Kubectl]:
    with a_namespace(cluster, "durable-home") as kubectl:
        yield kubectl


@pytest.fixture
def install(cluster: Kubectl) -> Iterator[Kubectl]:
    """The install namespace of a gateway."""
    with a_namespace(cluster, "durable") as kubectl:
        create_account(kubectl, "agentsessions-operator")
        yield kubectl


@pytest.fixture
def database() -> Iterator[Server]:
    """A PostgreSQL server of the test's own, whose commits are on the disk."""
    with create_folder() as folder, Server(ensure_programs(), folder, is_durable=True) as server:
        server.create_database(DATABASE)
        yield server


@dataclass(frozen=True)
class Storm:
    """What happens while people talk."""

    messages: int
    kills: int
    """Of the gateway, each after a share of the messages."""
    pause_seconds: float = 0
    restarts: int = 0
    """Of the database as if it had crashed, after as many of the first kills."""

    @property
    def between_messages_seconds(self) -> float:
        """How long each sender rests, so that messages come until the last kill."""
        return self.pause_seconds * self.kills * SENDERS / self.messages


SHORT = Storm(messages=150, kills=3)
LONG = Storm(messages=1000, kills=20, pause_seconds=5)


@pytest.mark.requirement("LIFE-8")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("storm", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)], ids=["some", "a thousand"])
async def test_each_acknowledged_message_is_taken_once_over_a_gateway_that_is_killed(
    install: Kubectl, home: Kubectl, tmp_path: Path, storm: Storm
) -> None:
    gateway = GatewayProcess(install, tmp_path)
    await talk_through(storm, Conversation(gateway, home), tmp_path)


@pytest.mark.requirement("LIFE-8")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("storm", [SHORT, pytest.param(LONG, marks=pytest.mark.slow)], ids=["some", "a thousand"])
async def test_each_acknowledged_message_is_taken_once_over_a_database_that_crashes(
    install: Kubectl, home: Kubectl, tmp_path: Path, database: Server, storm: Storm
) -> None:
    gateway = GatewayProcess(install, tmp_path, database_url=database.url(DATABASE))
    await talk_through(replace(storm, restarts=2), Conversation(gateway, home), tmp_path, database)


async def talk_through(storm: Storm, conversation: Conversation, folder: Path, database: Server | None = None) -> None:
    """Send messages while the storm lasts, and look at what became of them."""
    gateway = conversation.gateway
    await asyncio.to_thread(gateway.start)
    try:
        await _talk_through(storm, conversation, folder, database)
    finally:
        gateway.kill()


async def _talk_through(storm: Storm, conversation: Conversation, folder: Path, database: Server | None) -> None:
    gateway = conversation.gateway
    token, runner = prepare(conversation, folder)
    contents = [f"{number} {uuid.uuid4().hex}" for number in range(storm.messages)]
    agent = await runner.start(f"https://localhost:{gateway.port}")
    with ThreadPoolExecutor(SENDERS + 1) as threads:
        senders = [
            threads.submit(conversation.send_many, token, contents[sender::SENDERS], storm.between_messages_seconds)
            for sender in range(SENDERS)
        ]
        for kill in range(1, storm.kills + 1):
            share = storm.messages * kill // (storm.kills + 1)
            await asyncio.to_thread(
                eventually, lambda share=share: len(conversation.stored) >= share, f"{share} are stored"
            )
            await asyncio.sleep(storm.pause_seconds)  # the time between kills is the case, nothing is waited for
            gateway.kill()
            if database is not None and kill <= storm.restarts:
                await asyncio.to_thread(database.stop, signal.SIGQUIT)
                await asyncio.to_thread(database.start)
            await asyncio.to_thread(gateway.start)
            if database is not None and kill <= storm.restarts:  # and once under a gateway that lives
                await asyncio.to_thread(database.stop, signal.SIGQUIT)
                await asyncio.to_thread(database.start)
        for sender in senders:
            await asyncio.to_thread(sender.result)
    with gateway.client(token, namespace=conversation.home.namespace) as client:
        count = storm.messages
        await asyncio.to_thread(eventually, lambda: is_all_answered(conversation, client, count), "all are answered")
        assert agent.returncode is None, "the runner outlives the gateway"
        agent.terminate()
        await agent.wait()
        assert_taken_once(conversation, client)


def prepare(conversation: Conversation, folder: Path) -> tuple[str, RunnerProcess]:
    """Start a conversation as the operator does; return a token of who talks, and the runner."""
    home, gateway = conversation.home, conversation.gateway
    for account in ("speaker", "agentsessions-runner"):
        create_account(home, account)
    grant(home, "speaker", "get,list,send", "agentsessions,agentsessions/messages,agentsessions/events")
    home("create", "-f", "-", manifest=a_provider("echo", type="Scripted", script=ECHO))
    create_session(
        home,
        NAME,
        goal=None,
        conversation={"open": True, "idleSeconds": 3600, "maxHistory": 20},
        limits={"maxSteps": 10_000, "maxTokens": 100_000_000, "timeoutSeconds": 100_000},
        agents=[{"name": "agent", "model": {"providerRef": {"name": "echo"}, "name": "m"}}],
    )
    uid, pod_token = mint_for_pod(home, "agentsessions-runner", "talk-1")
    row = {"name": "agent", "epoch": 1, "podUID": uid, "state": "Running"}
    write_status(home, NAME, "Running", agents=[row])
    ca = folder / "ca.crt"
    ca.write_text(gateway.ca())
    token = mint(home, "speaker", "--duration=2h")
    with gateway.client(token, namespace=home.namespace) as client:
        eventually(lambda: client.get(f"{PATH}/{NAME}").json().get("phase") == "Running", "the session is known")
    return token, RunnerProcess(folder, ca=ca, patience_seconds=120, token=pod_token)


def is_all_answered(conversation: Conversation, client: httpx2.Client, count: int) -> bool:
    """Return whether the agent has answered every message."""
    messages = conversation.messages(client)
    return len(messages) >= count and all(message["state"] == "answered" for message in messages)


def assert_taken_once(conversation: Conversation, client: httpx2.Client) -> None:
    """Check invariant I5, and the journal itself."""
    messages = conversation.messages(client)
    assert {message["content"]: message["id"] for message in messages} == conversation.stored
    assert len(messages) == len(conversation.stored), "each is in the inbox once"
    entries = [message["seq"] for message in messages]
    assert entries == sorted(set(entries)), "each is in one turn, in order"
    turns = [message["turn"] for message in messages]
    assert turns == sorted(turns)
    verification = client.get(f"{PATH}/{NAME}/verify").json()
    assert verification["ok"], verification["problems"]
