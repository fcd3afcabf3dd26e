"""One request: what is sent, what comes back, what is tried again."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from agentsessions.client import AsyncClient, Client, SessionEnded, TimedOut, Unreachable
from agentsessions.client.errors import AgentSessionsError, ApiError
from agentsessions.client.values import FINAL_PHASES
from agentsessions.lifecycle.phases import TERMINAL
from tests.unit.client.script_server import Answer, Asked, ScriptServer, entry, session, sse

BUSY = Answer(503, {"code": "unavailable", "detail": "The gateway starts."})


def test_client_reads_a_session_and_names_itself(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=session(anotherField=1))]
    found = client.get("hello")
    assert (found.name, found.phase, found.usage.total_tokens, found.head) == ("hello", "Running", 7, 3)
    (asked,) = server.asked
    assert asked.path == "/api/v1/agent-sessions/hello?namespace=demo"
    assert asked.headers["Authorization"] == "Bearer a-token"


async def test_async_client_reads_the_same(server: ScriptServer, async_client: AsyncClient) -> None:
    server.script = [Answer(body=session())]
    assert (await async_client.get("hello")).name == "hello"


def test_both_clients_have_the_same_methods_with_the_same_words() -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        found = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(one).parameters) for name, one in found if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)


def test_refusal_is_an_error_with_code_detail_and_status(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(403, {"code": "forbidden", "detail": "User bob may not."})]
    with pytest.raises(ApiError) as caught:
        client.get("hello")
    assert (caught.value.status, caught.value.code, caught.value.detail) == (403, "forbidden", "User bob may not.")
    assert len(server.asked) == 1


def test_refusal_that_is_no_problem_is_told_as_it_stands(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(502, b"<html>bad gateway</html>"), Answer(404, b"nothing here")]
    with pytest.raises(ApiError, match="nothing here"):
        client.get("hello")


def test_what_passes_is_tried_again(server: ScriptServer, client: Client) -> None:
    server.script = [BUSY, Answer(429, {"code": "rate_limited"}, {"Retry-After": "0"}), Answer(body=session())]
    assert client.get("hello").name == "hello"
    assert len(server.asked) == 3


def test_broken_connection_is_tried_again(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=session(), is_cut=True), Answer(body=session())]
    assert client.get("hello").name == "hello"


def test_message_is_sent_again_under_its_key(server: ScriptServer, client: Client) -> None:
    stored = {"id": "m-1", "role": "user", "content": "Hi", "createdAt": "2026-11-02T10:00:00Z", "state": "queued"}
    server.script = [Answer(201, stored, is_cut=True), Answer(201, stored)]
    assert client.send("hello", "Hi").state == "queued"
    first, second = (asked.json() for asked in server.asked)
    assert first == second
    assert first["idempotencyKey"]


def test_creation_is_not_sent_twice(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(201, session(), is_cut=True)]
    with pytest.raises(Unreachable):
        client.create("Say hello.")
    assert len(server.asked) == 1


def test_gateway_that_stays_away_is_told_in_time() -> None:
    with (
        Client("http://127.0.0.1:1", "t", retry_seconds=0.3) as client,
        pytest.raises(Unreachable, match="does not answer"),
    ):
        client.get("hello")


def test_token_is_asked_for_again_when_it_is_refused(server: ScriptServer) -> None:
    tokens = iter(["old", "new", "newest"])
    server.script = [Answer(401, {"code": "unauthenticated"}), Answer(body=session())]
    with Client(server.url, lambda: next(tokens)) as client:
        assert client.get("hello").name == "hello"
    assert [asked.headers["Authorization"] for asked in server.asked] == ["Bearer old", "Bearer new"]


def test_token_that_stays_refused_is_an_error(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(401, {"code": "unauthenticated", "detail": "Expired."})]
    with pytest.raises(ApiError, match="Expired"):
        client.get("hello")


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"uid": "u"}'], ids=["no JSON", "no object", "half a session"])
def test_answer_of_another_kind_is_told(server: ScriptServer, client: Client, body: bytes) -> None:
    server.script = [Answer(body=body)]
    with pytest.raises(AgentSessionsError, match="a form that this client does not know"):
        client.get("hello")


def test_pages_are_read_to_the_end(server: ScriptServer, client: Client) -> None:
    def page(seqs: list[int], next_: int | None) -> Answer:
        items = [{"seq": seq, "round": 1, "type": "output", "startedAt": "2026-11-02T10:00:00Z"} for seq in seqs]
        return Answer(body={"items": items, "next": next_})

    server.script = [page([1, 2], 2), page([3], None)]
    assert [step.seq for step in client.steps("hello")] == [1, 2, 3]
    assert "after=2" in server.asked[1].path


def test_wait_tells_how_a_session_ended(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=session()), Answer(body=session(phase="Failed"))]
    with pytest.raises(SessionEnded) as caught:
        client.wait("hello", {"Completed"})
    assert caught.value.phase == "Failed"


def test_wait_gives_up_in_time(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=session())]
    with pytest.raises(TimedOut):
        client.wait("hello", {"Completed"}, timeout=0.2)


async def test_async_wait_sees_the_phase(server: ScriptServer, async_client: AsyncClient) -> None:
    server.script = [Answer(body=session()), Answer(body=session(phase="Completed"))]
    assert (await async_client.wait("hello")).phase == "Completed"


def play(asked: Asked) -> Answer:
    """Play a gateway on which each session completes at once."""
    if asked.method == "POST":
        return Answer(201, session())
    if "/events" in asked.path:
        return Answer(body=sse(entry(1, "output", text="Hello!"), entry(2, "done")))
    if "/steps" in asked.path:
        step = {
            "seq": 1,
            "number": 1,
            "round": 1,
            "type": "output",
            "output": "Hello!",
            "startedAt": "2026-11-02T10:00:00Z",
        }
        return Answer(body={"items": [step]})
    return Answer(body=session(phase="Completed"))


def test_execute_returns_what_came_of_it(server: ScriptServer, client: Client) -> None:
    server.answer = play
    result = client.execute("Say hello.", limits={"maxSteps": 2})
    assert (result.status, result.output, result.is_success) == ("completed", "Hello!", True)
    assert server.asked[0].json() == {"goal": "Say hello.", "limits": {"maxSteps": 2}}


async def test_async_execute_returns_the_same(server: ScriptServer, async_client: AsyncClient) -> None:
    server.answer = play
    result = await async_client.execute("Say hello.")
    assert (result.status, result.output) == ("completed", "Hello!")


def reply(text: str | None) -> Answer:
    """Return an answer of the conversation route."""
    body: dict[str, Any] = {
        "session": "talk",
        "uid": "u-9",
        "namespace": "demo",
        "messageId": "m",
        "phase": "Running",
        "usage": {},
    }
    return Answer(200 if text else 202, {**body, **({"reply": text} if text else {})})


def test_conversation_asks_under_one_key_until_there_is_an_answer(server: ScriptServer, client: Client) -> None:
    server.script = [reply(None), reply("Fine."), reply("Sure.")]
    talk = client.conversation(systemOverride="Be kind.", maxHistory=10)
    assert talk.send("How are you?").output == "Fine."
    assert talk.send("Really?").output == "Sure."
    first, again, second = (asked.json() for asked in server.asked)
    assert first["idempotencyKey"] == again["idempotencyKey"] != second["idempotencyKey"]
    assert (first["systemOverride"], first["maxHistory"]) == ("Be kind.", 10)
    assert again["session"] == second["session"] == talk.session == "u-9"


def test_conversation_is_closed_by_a_patch(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=session(phase="Idle"))]
    client.conversation("talk").close()
    (asked,) = server.asked
    assert (asked.method, asked.json()) == ("PATCH", {"conversation": {"open": False}})


def test_archive_goes_out_and_in_as_it_is(server: ScriptServer, client: Client) -> None:
    server.script = [Answer(body=b"\x28\xb5archive")]
    document = client.export("hello")
    server.script = [Answer(201, {"uid": "u-1", "namespace": "demo", "name": "hello", "head": 9})]
    assert client.import_(document).head == 9
    assert (server.asked[1].body, server.asked[1].headers["Content-Type"]) == (document, "application/zstd")


def test_final_phases_are_those_of_the_table() -> None:
    assert FINAL_PHASES == TERMINAL
