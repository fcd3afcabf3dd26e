"""The conversation of a session over HTTP: send, read, change, delete; and the one call that waits for its answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import orjson
import pytest

from agentsessions.gateway.auth import User
from agentsessions.gateway.bodies import MAX_JSON_BYTES, MAX_JSON_VALUES
from agentsessions.gateway.rates import Rate, Rates
from agentsessions.journal.rows import Course
from tests.journal.builders import Player
from tests.process.proxy.house import LONG_SECONDS, House

MESSAGES = "/api/v1/agent-sessions/t/messages"
TALK = "/api/v1/conversation"
OPEN = Course(is_open=True)
KIB = 1024


@pytest.fixture
async def player(house: House) -> Player:
    """The agent of an open conversation, whose pod the test plays."""
    await house.put_session(name="t", pod="p2", goal=None, conversation={"open": True})
    pod = await house.store.identify_pod("p2")
    assert pod is not None
    return Player(house.store, pod)


@pytest.fixture
async def alice(house: House) -> AsyncIterator[httpx2.AsyncClient]:
    async with house.person() as person:
        yield person


async def send(person: httpx2.AsyncClient, content: str, **more: Any) -> dict[str, Any]:
    answer = await person.post(MESSAGES, json={"content": content, **more})
    assert answer.status_code == 201, answer.text
    sent: dict[str, Any] = answer.json()
    return sent


def problem(answer: httpx2.Response) -> tuple[int, str]:
    """Return status and code."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


# Messages.


@pytest.mark.requirement("CONV-1")
async def test_messages_are_sent_listed_counted_changed_and_deleted(alice: httpx2.AsyncClient, player: Player) -> None:
    system = await send(alice, "Be brief.", role="system")
    first = await send(alice, "one", extraData={"from": "a form"}, idempotencyKey="k")
    assert (first["role"], first["number"], first["state"], first["actor"]) == ("user", 2, "queued", "alice")
    assert (await send(alice, "one", extraData={"from": "a form"}, idempotencyKey="k"))["id"] == first["id"]
    await player.answer("uno", OPEN)
    await send(alice, "two")

    listed = (await alice.get(MESSAGES)).json()["items"]
    assert [(item["role"], item["content"]) for item in listed] == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "uno"),
        ("user", "two"),
    ]
    assert listed[1]["extraData"] == {"from": "a form"}
    recent = (await alice.get(f"{MESSAGES}/recent", params={"count": 2})).json()["items"]
    assert recent == listed[2:]
    newest = (await alice.get(MESSAGES, params={"order": "desc", "limit": 1})).json()
    assert newest == {"items": listed[3:], "next": 4}
    assert (await alice.get(MESSAGES, params={"role": "assistant"})).json()["items"] == listed[2:3]
    assert (await alice.get(f"{MESSAGES}/count")).json() == {"count": 4}
    assert (await alice.get(f"{MESSAGES}/{listed[2]['id']}")).json() == listed[2]

    edited = await alice.patch(f"{MESSAGES}/{first['id']}", json={"content": "eins"})
    assert (edited.status_code, edited.json()["content"]) == (200, "eins")
    assert "updatedAt" in edited.json()
    assert (await alice.delete(f"{MESSAGES}/{system['id']}")).status_code == 204
    assert problem(await alice.get(f"{MESSAGES}/{system['id']}")) == (404, "not_found")
    assert problem(await alice.delete(f"{MESSAGES}/{system['id']}")) == (404, "not_found")
    cleared = await alice.delete(MESSAGES)
    assert (cleared.status_code, cleared.json()) == (200, {"deleted": 3, "kept": 0})
    verified = (await alice.get("/api/v1/agent-sessions/t/verify")).json()
    assert verified["ok"] is True


@pytest.mark.requirement("STEP-1")
async def test_steps_and_events_show_what_was_redacted_without_its_content(
    alice: httpx2.AsyncClient, player: Player
) -> None:
    await send(alice, "one")
    await player.answer("a secret", OPEN)
    (step,) = (await alice.get("/api/v1/agent-sessions/t/steps")).json()["items"]
    assert (await alice.delete(f"{MESSAGES}/entry-{step['seq']}")).status_code == 204
    (after,) = (await alice.get("/api/v1/agent-sessions/t/steps")).json()["items"]
    assert after == {name: value for name, value in step.items() if name != "output"}
    async with alice.stream("GET", "/api/v1/agent-sessions/t/events") as response:
        async for line in response.aiter_lines():
            assert "a secret" not in line
            if line == "event: redacted":
                return


@pytest.mark.requirement("CONV-1")
@pytest.mark.requirement("OPS-8")
async def test_message_that_is_being_answered_is_not_changed(alice: httpx2.AsyncClient, player: Player) -> None:
    sent = await send(alice, "one")
    await player.store.pin_turn(player.pod, OPEN)
    for answer in (
        await alice.patch(f"{MESSAGES}/{sent['id']}", json={"content": "eins"}),
        await alice.delete(f"{MESSAGES}/{sent['id']}"),
    ):
        assert problem(answer) == (409, "being_answered")


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    ("body", "names"),
    [
        pytest.param({"content": ""}, "content", id="nothing said"),
        pytest.param({"content": "x", "role": "nobody"}, "role", id="an unknown role"),
        pytest.param({"content": "x", "role": "tool"}, "toolCallId", id="a result of no call"),
        pytest.param({"content": "x", "toolName": "shell"}, "role tool", id="a tool that speaks as a user"),
        pytest.param({"content": "x", "extraData": {"a": "b" * 20 * KIB}}, "16384", id="much extra data"),
        pytest.param({"content": "x", "extraData": [1]}, "extraData", id="extra data that is no object"),
        pytest.param({"content": "x", "idempotencyKey": "k" * 257}, "idempotencyKey", id="a long key"),
        pytest.param({"content": "a\0b"}, "U+0000", id="a character that is none"),
        pytest.param({"content": "x", "extraData": {"a": 2**64}}, "extraData", id="a number beyond 64 bits"),
        pytest.param({"content": "x", "other": 1}, "other", id="an unknown field"),
    ],
)
async def test_message_that_is_not_valid_is_refused_by_name(
    alice: httpx2.AsyncClient, player: Player, body: dict[str, Any], names: str
) -> None:
    answer = await alice.post(MESSAGES, json=body)
    assert problem(answer) == (422, "invalid_request")
    assert names in answer.json()["detail"]
    del player


@pytest.mark.requirement("ID-6")
async def test_sizes_of_messages_and_bodies_are_bounded(alice: httpx2.AsyncClient, player: Player) -> None:
    await send(alice, "ä" * (128 * KIB))
    too_large = await alice.post(MESSAGES, json={"content": "ä" * (128 * KIB) + "a"})
    assert problem(too_large) == (413, "too_large")
    assert "262145" in too_large.json()["detail"]
    headers = {"Content-Type": "application/json"}
    bodies = {
        b'{"content": "' + b"x" * MAX_JSON_BYTES + b'"}': (413, "too_large"),
        b'{"content": "x", "extraData": ' + b"[" * 5000 + b"]" * 5000 + b"}": (422, "invalid_request"),
        b'{"content": "x", "extraData": {"a": [' + b"1," * MAX_JSON_VALUES + b"1]}}": (422, "invalid_request"),
        b"[" * 5000: (422, "invalid_request"),
        b'{"content": ': (422, "invalid_request"),
        rb'{"content": "\ud800"}': (422, "invalid_request"),
        rb'{"content": "x", "\ud800": 1}': (422, "invalid_request"),
    }
    for body, expected in bodies.items():
        assert problem(await alice.post(MESSAGES, content=body, headers=headers)) == expected
    await send(alice, '{"a": [' + "[{," * 30_000)
    del player


@pytest.mark.requirement("ID-6")
async def test_messages_are_counted_by_user(house: House, alice: httpx2.AsyncClient, player: Player) -> None:
    house.gateway.rates = Rates(sessions_per_minute=0, messages_per_minute=2)
    for content in ("one", "two"):
        await send(alice, content)
    refused = await alice.post(MESSAGES, json={"content": "three"})
    assert problem(refused) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert problem(await alice.post(TALK, json={"session": "t", "message": "four"})) == (429, "rate_limited")
    async with house.person("bob") as bob:
        await send(bob, "three")
    assert await house.store.read(lambda conn: conn.exec_driver_sql("select count(*) from inbox").scalar()) == 3
    del player


def test_rate_of_nothing_is_no_limit() -> None:
    rates = Rates(sessions_per_minute=0, messages_per_minute=0)
    for _ in range(10):
        rates.count(Rate.MESSAGES, User("alice"), 1000)


@pytest.mark.requirement("ID-2")
async def test_conversation_of_another_is_changed_with_the_verb_own_alone(house: House, player: Player) -> None:
    await house.put_session(name="t", pod="p2", goal=None, conversation={"open": True}, owner="alice")
    async with house.person("alice") as alice, house.person("disowned") as other, house.person("bob") as bob:
        sent = await send(alice, "mine")
        for answer in (
            await other.post(MESSAGES, json={"content": "theirs"}),
            await other.patch(f"{MESSAGES}/{sent['id']}", json={"content": "theirs"}),
            await other.delete(f"{MESSAGES}/{sent['id']}"),
            await other.delete(MESSAGES),
            await other.post(TALK, json={"session": "t", "message": "theirs"}),
        ):
            assert problem(answer) == (403, "forbidden")
            assert "belongs to alice" in answer.json()["detail"]
        assert (await other.get(MESSAGES)).status_code == 200
        assert (await bob.delete(f"{MESSAGES}/{sent['id']}")).status_code == 204
    del player


# The one call.


async def answering(house: House, player: Player, text: str) -> None:
    """Play the agent as soon as something is said to it."""
    with house.store.changes() as changes:
        while not (await player.level()).inbox_pending:
            await anext(changes)
    await player.answer(text, OPEN)


@pytest.mark.requirement("CONV-2")
async def test_call_says_something_and_returns_the_answer(
    house: House, alice: httpx2.AsyncClient, player: Player
) -> None:
    async with asyncio.timeout(LONG_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(answering(house, player, "Hello, Alice."))
        body = {"session": "t", "message": "I am Alice.", "idempotencyKey": "k", "systemOverride": "Be polite."}
        answer = await alice.post(TALK, json=body)
    found = answer.json()
    assert answer.status_code == 200
    assert (found["reply"], found["session"], found["uid"]) == ("Hello, Alice.", "t", "uid-team-t")
    assert (found["messagesCount"], found["phase"], found["usage"]["turns"]) == (3, "Running", 1)
    listed = (await alice.get(MESSAGES)).json()["items"]
    assert [(item["role"], item["content"]) for item in listed[:2]] == [
        ("system", "Be polite."),
        ("user", "I am Alice."),
    ]
    assert listed[1]["id"] == found["messageId"]
    assert (await alice.post(TALK, json=body)).json() == found, "the same call is the same message, and its answer"


@pytest.mark.requirement("CONV-2")
async def test_call_that_takes_longer_leads_to_its_message(alice: httpx2.AsyncClient, player: Player) -> None:
    body = {"session": "t", "messages": [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "So?"}]}
    answer = await alice.post(TALK, json=body | {"waitSeconds": 0, "idempotencyKey": "k"})
    assert answer.status_code == 202
    assert "reply" not in answer.json()
    message = (await alice.get(answer.headers["Location"])).json()
    assert (message["id"], message["content"], message["state"]) == (answer.json()["messageId"], "So?", "queued")
    await player.answer("Thus.", OPEN)
    again = await alice.post(TALK, json=body | {"idempotencyKey": "k"})
    assert (again.status_code, again.json()["reply"], again.json()["messagesCount"]) == (200, "Thus.", 3)


@pytest.mark.requirement("CONV-2")
async def test_call_tells_when_nobody_will_answer(house: House, alice: httpx2.AsyncClient, player: Player) -> None:
    async def fail() -> None:
        with house.store.changes() as changes:
            while not (await player.level()).inbox_pending:
                await anext(changes)
        status = {"phase": "Failed", "phaseStartedAt": "2026-11-21T12:00:09Z", "stopReason": "TokenLimit"}
        spec = {"conversation": {"open": True}}
        house.cluster.put("agentsessions", "team", "t", spec=spec, status=status)

    async with asyncio.timeout(LONG_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(fail())
        answer = await alice.post(TALK, json={"session": "t", "message": "Still there?"})
    assert problem(answer) == (409, "not_answered")
    assert "Failed (TokenLimit)" in answer.json()["detail"]
    late = await alice.post(TALK, json={"session": "t", "message": "And now?"})
    assert problem(late) == (409, "session_finished")


@pytest.mark.requirement("CONV-2")
async def test_call_streams_what_happens_up_to_the_answer(
    house: House, alice: httpx2.AsyncClient, player: Player
) -> None:
    await send(alice, "before")
    await player.answer("not of this call", OPEN)
    body = {"session": "t", "message": "go", "idempotencyKey": "k"}
    headers = {"Accept": "text/event-stream"}
    async with asyncio.timeout(LONG_SECONDS), asyncio.TaskGroup() as tasks:
        tasks.create_task(answering(house, player, "Gone."))
        first = (await alice.post(TALK, json=body, headers=headers)).text
    events = [line.removeprefix("event: ") for line in first.splitlines() if line.startswith("event: ")]
    assert events == ["message", "step_start", "output", "step_complete", "reply"]
    reply = orjson.loads(first.rsplit("data: ", 1)[1])
    assert (reply["reply"], reply["session"]) == ("Gone.", "t")
    assert (await alice.post(TALK, json=body | {"stream": True})).text == first, "and the same again"


@pytest.mark.requirement("CONV-2")
async def test_client_that_leaves_loses_nothing(house: House, alice: httpx2.AsyncClient, player: Player) -> None:
    body = {"session": "t", "message": "I have to go", "idempotencyKey": "k"}
    async with asyncio.timeout(LONG_SECONDS):
        waiting = asyncio.create_task(alice.post(TALK, json=body))
        with house.store.changes() as changes:
            while not (await player.level()).inbox_pending:
                await anext(changes)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await player.answer("Bye.", OPEN)
        assert (await alice.post(TALK, json=body)).json()["reply"] == "Bye."


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    ("body", "names"),
    [
        pytest.param({}, "give message or messages", id="nothing said"),
        pytest.param({"message": "a", "messages": [{"content": "b"}]}, "not both", id="said in two ways"),
        pytest.param({"message": "a", "session": "t", "sessionId": "x"}, "not both", id="two sessions"),
        pytest.param({"messages": [{"content": "b", "role": "system"}]}, "role user", id="nothing to answer"),
        pytest.param({"message": "a", "waitSeconds": 121}, "waitSeconds", id="a long wait"),
    ],
)
async def test_call_that_is_not_valid_is_refused_by_name(
    alice: httpx2.AsyncClient, body: dict[str, Any], names: str
) -> None:
    answer = await alice.post(TALK, json=body)
    assert problem(answer) == (422, "invalid_request")
    assert names in answer.json()["detail"]


async def test_call_to_no_session_is_not_found(alice: httpx2.AsyncClient) -> None:
    answer = await alice.post(TALK, json={"session": "nobody", "message": "hello"})
    assert problem(answer) == (404, "not_found")
