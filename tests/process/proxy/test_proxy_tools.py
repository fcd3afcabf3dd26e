"""Calls of tools that the gateway runs, with a real MCP server and a real web server."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentsessions.api import kinds, wire
from agentsessions.api.v1alpha1.approval import ApprovalOutcome, ApprovalRequest
from agentsessions.api.v1alpha1.session import SessionMode, SessionType
from agentsessions.gateway.proxy import mcp_client, tool_directory, tools
from agentsessions.journal import approvals, asked_calls, instances
from agentsessions.journal.approvals import Decided
from agentsessions.journal.asked_calls import Process
from tests.plain_http import open_plain
from tests.process.proxy.house import House, until

pytestmark = pytest.mark.requirement("AG-2")

TOKEN = "a-secret-token-of-the-shelf"
UID = "uid-team-s"
A_TURN = 16
"""Calls that a scripted answer asks for at most."""
ALLOWED = [
    {"name": "search", "sideEffect": "None"},
    {"name": "order"},
    {"name": "flood"},
    {"name": "fail"},
    {"name": "wait"},
]


@dataclass
class Shelf:
    """The MCP server's process."""

    url: str

    async def calls(self) -> list[dict[str, Any]]:
        async with open_plain() as client:
            found: list[dict[str, Any]] = (await client.get(f"{self.url}/calls")).json()
        return found

    async def send(self, path: str) -> None:
        async with open_plain() as client:
            (await client.post(f"{self.url}{path}")).raise_for_status()


@contextmanager
def serve_shelf(token: str = "") -> Iterator[str]:
    """Run the MCP server while the block does; yield its address."""
    command = [sys.executable, str(Path(__file__).parents[2] / "mcp_server.py")]
    env = {**os.environ, "MCP_TOKEN": token}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def shelf_url() -> Iterator[str]:
    with serve_shelf(TOKEN) as url:
        yield url


@pytest.fixture
async def shelf(shelf_url: str) -> Shelf:
    shelf = Shelf(shelf_url)
    await shelf.send("/reset")
    return shelf


def agent_with(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": "agent", "tools": list(given)}]


SHELF_TOOL = {"serverRef": {"name": "shelf"}, "allow": ["search", "order", "flood", "fail", "wait"]}


async def open_shop(house: House, shelf: Shelf, **spec: Any) -> None:
    """Show the gateway the server, and a session whose agent may use it."""
    house.cluster.put_secret("team", "shelf", header=f"Bearer {TOKEN}\n")
    await house.put_server(
        "shelf",
        url=f"{shelf.url}/mcp",
        headers=[{"name": "Authorization", "secretKeyRef": {"name": "shelf", "key": "header"}}],
        allowedTools=ALLOWED,
    )
    await house.put_session(agents=agent_with(SHELF_TOOL), **spec)


async def offers(house: House, pod: str = "p1") -> dict[str, wire.ToolOffer]:
    async with house.client(pod) as client:
        response = await client.get(wire.TURN_PATH)
    assert response.status_code == 200, response.text
    return {offer.name: offer for offer in wire.Turn.model_validate_json(response.content).tools}


async def ask_for(house: House, *calls: tuple[str, dict[str, Any]], pod: str = "p1") -> list[str]:
    """Have the model ask for calls; return their ids."""
    asked = [{"name": name, "arguments": arguments} for name, arguments in calls]
    script = {"rules": [{"answer": {"text": "so", "toolCalls": asked}}]}
    await house.put_provider({"type": "Scripted", "models": [{"name": "tiny"}], "script": script})
    await offers(house, pod)  # pins the turn
    answer = (await house.ask("tiny", pod=pod)).json()
    return [call["id"] for call in answer["choices"][0]["message"]["tool_calls"]]


async def call(
    house: House, call_id: str, name: str, arguments: dict[str, Any] | str, *, pod: str = "p1"
) -> httpx2.Response:
    written = arguments if isinstance(arguments, str) else json.dumps(arguments, separators=(",", ":"))
    async with house.client(pod) as client:
        body = wire.ToolCall(call_id=call_id, name=name, arguments=written)
        return await client.post(wire.TOOL_CALL_PATH, json=body.to_json())


async def run(house: House, name: str, arguments: dict[str, Any]) -> wire.ToolAnswer:
    """Have one call run, from the model's wish to the answer."""
    (call_id,) = await ask_for(house, (name, arguments))
    written = await asked_arguments(house, call_id)
    response = await call(house, call_id, name, written)
    assert response.status_code == 200, response.text
    return wire.ToolAnswer.model_validate_json(response.content)


async def asked_arguments(house: House, call_id: str, uid: str = UID) -> str:
    bodies = [e.body for e in await house.store.entries(uid) if e.type == "tool_call"]
    return next(str(body["arguments"]) for body in bodies if body and body["callId"] == call_id)


async def results(house: House) -> list[dict[str, Any]]:
    return [e.body for e in await house.store.entries(UID) if e.type == "tool_result" and e.body]


async def test_tools_of_a_server_are_offered_by_name_and_schema_and_run_with_its_key(
    house: House, shelf: Shelf
) -> None:
    await open_shop(house, shelf)

    found = await offers(house)
    answer = await run(house, "shelf__search", {"query": "bolts", "limit": 2})

    assert list(found) == ["shelf__search", "shelf__order", "shelf__flood", "shelf__fail", "shelf__wait"]
    assert found["shelf__search"].side_effect is wire.SideEffect.NONE
    assert found["shelf__order"].side_effect is wire.SideEffect.EXTERNAL
    assert found["shelf__search"].parameters["required"] == ["query"]
    assert (answer.verdict, answer.output, answer.is_error) == (wire.Verdict.RUN, "found 2 of bolts", False)
    assert [(r["name"], r["output"]) for r in await results(house)] == [("shelf__search", "found 2 of bolts")]


async def test_status_says_which_tools_can_be_used_and_which_are_not_there(house: House, shelf: Shelf) -> None:
    await open_shop(house, shelf)
    status = await house.put_server("open", url=f"{shelf.url}/mcp", allowedTools=[{"name": "search"}])
    away = await house.put_server("away", url="http://127.0.0.1:1/mcp")
    ready = house.gateway.proxy.servers.find("team", "shelf")

    assert ready is not None
    assert [tool.name for tool in ready.status.tools or ()] == ["fail", "flood", "order", "search", "wait"]
    assert ready.status.tools_digest
    for found, said in ((status, "401"), (away, "connection")):
        (condition,) = found.conditions or ()
        assert (condition.status, condition.reason) == ("False", "ServerNotReady")
        assert said in condition.message.lower()
        assert TOKEN not in condition.message


async def test_a_call_is_run_once_whoever_asks_again(house: House, shelf: Shelf) -> None:
    await open_shop(house, shelf)
    (call_id,) = await ask_for(house, ("shelf__order", {"part": "bolt"}))
    written = await asked_arguments(house, call_id)

    both = await asyncio.gather(*(call(house, call_id, "shelf__order", written) for _ in range(5)))
    later = await call(house, call_id, "shelf__order", written)

    assert {response.json()["output"] for response in both} == {"ordered bolt"}
    assert later.json() == {"verdict": "recorded", "output": "ordered bolt", "isError": False}
    assert [made["tool"] for made in await shelf.calls()] == ["order"]


async def test_an_external_call_of_a_gateway_that_died_waits_for_a_person_and_is_made_when_they_say_so(
    house: House, shelf: Shelf
) -> None:
    await open_shop(house, shelf)
    (call_id,) = await ask_for(house, ("shelf__order", {"part": "bolt"}))
    written = await asked_arguments(house, call_id)
    await claim_by(house, call_id, Process("a process that is gone", house.store.instance))

    answers = [await call(house, call_id, "shelf__order", written) for _ in range(2)]
    (question,) = await pending(house)
    made_before = await shelf.calls()
    await decide(house, question, ApprovalOutcome.RUN_AGAIN)
    again = await call(house, call_id, "shelf__order", written)

    assert [answer.json()["verdict"] for answer in answers] == ["in_doubt", "in_doubt"]
    assert (question.kind, question.tool, question.number) == ("Doubt", "shelf__order", 1)
    assert "nobody knows whether it happened" in question.message
    assert made_before == []
    assert again.json()["output"] == "ordered bolt"
    assert len(await shelf.calls()) == 1


async def test_an_external_call_that_happened_after_all_is_answered_with_what_a_person_saw(
    house: House, shelf: Shelf
) -> None:
    await open_shop(house, shelf)
    (call_id,) = await ask_for(house, ("shelf__order", {"part": "bolt"}))
    written = await asked_arguments(house, call_id)
    await claim_by(house, call_id, Process("a process that is gone", "another-gateway"))
    await call(house, call_id, "shelf__order", written)
    (question,) = await pending(house)
    await decide(house, question, ApprovalOutcome.HAPPENED, output="the bolt came")

    answer = await call(house, call_id, "shelf__order", written)

    assert answer.json() == {"verdict": "recorded", "output": "the bolt came", "isError": False}
    assert await shelf.calls() == []
    assert [r["output"] for r in await results(house)] == ["the bolt came"]


async def test_an_external_call_of_a_gateway_that_lives_is_waited_for(
    house: House, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "LOOK_SECONDS", 0.01)
    await open_shop(house, shelf)
    (call_id,) = await ask_for(house, ("shelf__order", {"part": "bolt"}))
    written = await asked_arguments(house, call_id)
    await house.store.write(lambda work: instances.enter(work, "another-gateway"))
    await claim_by(house, call_id, Process("it", "another-gateway"))

    looks: list[str] = []

    def claim(*given: Any) -> asked_calls.Maker:
        looks.append("looked")
        return asked_calls.claim(*given)

    monkeypatch.setattr(tools, "claim", claim)
    asking = asyncio.create_task(call(house, call_id, "shelf__order", written))
    await until(lambda: len(looks) > 1)
    pod = await house.store.identify_pod("p1")
    assert pod is not None
    report = wire.ToolSettle(call_id=call_id, output="ordered there", is_error=False, duration_milliseconds=1)
    await house.store.settle_tool(pod, report, is_own=True)

    assert (await asking).json()["output"] == "ordered there"
    assert await shelf.calls() == []


async def claim_by(house: House, call_id: str, process: Process) -> None:
    """Note in the journal that a process makes a call of pod p1."""
    pod = await house.store.identify_pod("p1")
    assert pod is not None
    begin = wire.ToolBegin(call_id=call_id, name="shelf__order", arguments="{}", side_effect=wire.SideEffect.EXTERNAL)
    await house.store.begin_tool(pod, begin)
    assert await house.store.write(lambda work: asked_calls.claim(work, pod, call_id, process)) is asked_calls.Maker.ME


async def pending(house: House) -> list[ApprovalRequest]:
    level = await house.store.level(UID)
    assert level is not None
    return level.approval_pending


async def decide(house: House, question: ApprovalRequest, outcome: ApprovalOutcome, **said: str) -> None:
    decided = Decided(UID, question.agent, question.round, question.call_id, question.number, outcome, ("amy",), **said)
    assert await house.store.write(lambda work: approvals.decide(work, decided))


async def test_the_result_of_a_call_outlives_the_pod_that_asked(house: House, shelf: Shelf) -> None:
    await open_shop(house, shelf)
    (call_id,) = await ask_for(house, ("shelf__wait", {}))
    written = await asked_arguments(house, call_id)
    asking = asyncio.create_task(call(house, call_id, "shelf__wait", written))
    await shelf.send("/waits")
    asking.cancel()
    await house.put_session(pod="p2", epoch=2, agents=agent_with(SHELF_TOOL))
    again = asyncio.create_task(call(house, call_id, "shelf__wait", written, pod="p2"))
    await shelf.send("/go")

    assert (await again).json()["output"] == "waited"
    assert [made["tool"] for made in await shelf.calls()] == ["wait"]
    assert [r["output"] for r in await results(house)] == ["waited"]


async def test_calls_of_one_agent_run_one_after_the_other(house: House, shelf: Shelf) -> None:
    await open_shop(house, shelf)
    asked = await ask_for(house, ("shelf__wait", {}), *[("shelf__order", {"part": str(n)}) for n in range(3)])
    names = ["shelf__wait", *["shelf__order"] * 3]
    written = [await asked_arguments(house, call_id) for call_id in asked]

    first = asyncio.create_task(call(house, asked[0], names[0], written[0]))
    await shelf.send("/waits")
    rest = [asyncio.create_task(call(house, *one)) for one in zip(asked[1:], names[1:], written[1:], strict=True)]
    await offers(house)  # the gateway has had time to begin them
    before = [made["tool"] for made in await shelf.calls()]
    await shelf.send("/go")
    await asyncio.gather(first, *rest)

    assert before == ["wait"]
    assert [made["tool"] for made in await shelf.calls()] == ["wait", "order", "order", "order"]
    assert len(await results(house)) == 4


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        pytest.param("shelf__secret", {}, "no tool", id="a tool that the session does not allow"),
        pytest.param("shelf__nothing", {}, "no tool", id="a tool that nobody has"),
        pytest.param("secret", {}, "no tool", id="a tool without its server"),
        pytest.param("shelf__search", {}, "do not fit its schema", id="arguments that lack something"),
        pytest.param("shelf__search", {"query": 7}, "do not fit its schema", id="arguments of a wrong kind"),
        pytest.param("shelf__fail", {"token": "x"}, "the shelf is empty", id="a tool that fails"),
    ],
)
async def test_what_cannot_be_done_is_text_for_the_model(
    house: House, shelf: Shelf, name: str, arguments: dict[str, Any], said: str
) -> None:
    await open_shop(house, shelf)

    answer = await run(house, name, arguments)

    assert answer.is_error
    assert said in answer.output
    assert TOKEN not in answer.output
    assert [made["tool"] for made in await shelf.calls()] == (["fail"] if name == "shelf__fail" else [])
    assert [r["isError"] for r in await results(house)] == [True]


async def test_other_arguments_than_the_model_wrote_are_refused(house: House, shelf: Shelf) -> None:
    await open_shop(house, shelf)
    (call_id,) = await ask_for(house, ("shelf__order", {"part": "bolt"}))

    forged = await call(house, call_id, "shelf__order", {"part": "gold"})
    unknown = await call(house, "call-none", "shelf__order", {"part": "gold"})

    assert (forged.status_code, unknown.status_code) == (404, 404)
    assert not await shelf.calls()


async def test_a_tool_that_changed_is_offered_as_it_was_and_refused(
    house: House, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_directory, "LIST_KEPT_SECONDS", 0.0)
    await open_shop(house, shelf)
    before = await offers(house)
    await shelf.send("/change")

    answer = await run(house, "shelf__search", {"query": "bolts"})

    assert await offers(house) == before, "no live list of tools enters a request"
    assert answer.output.startswith("[tool_changed] not called")
    assert not await shelf.calls()


async def test_long_answers_are_cut(house: House, shelf: Shelf) -> None:
    await open_shop(house, shelf)

    answer = await run(house, "shelf__flood", {"size": 200_000})

    assert "left out here" in answer.output
    assert len(answer.output) <= 65_536


async def test_answers_without_end_are_broken_off(house: House, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mcp_client, "MAX_ANSWER_BYTES", 100_000)
    await open_shop(house, shelf)

    answer = await run(house, "shelf__flood", {"size": 200_000})

    assert answer.output.startswith("[call_failed] ToolServer shelf: ReadError: the answer has more than 100000 bytes")
    assert answer.output.endswith("bytes. Whether the call took effect is not known: find out before you call it again")


@pytest.mark.parametrize(
    ("effects", "said", "is_error"),
    [
        pytest.param(kinds.ExternalEffects.RECORD, "[recorded]", False, id="recorded"),
        pytest.param(kinds.ExternalEffects.REFUSE, "[refused]", True, id="refused"),
    ],
)
@pytest.mark.requirement("OBJ-2")
async def test_external_effects_are_journaled_and_not_done_where_the_type_says_so(
    house: House,
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    effects: kinds.ExternalEffects,
    said: str,
    is_error: bool,
) -> None:
    held = {SessionType.CUSTOM: kinds.Rules(external=effects)}
    monkeypatch.setattr(kinds, "TYPES", held)
    monkeypatch.setattr(kinds, "MODES", {SessionMode.FULL_AUTONOMY: kinds.Rules()})
    await open_shop(house, shelf)

    wanted = await run(house, "shelf__order", {"part": "bolt"})

    assert wanted.output.startswith(said)
    assert wanted.is_error is is_error
    assert not await shelf.calls()
    assert [(r["name"], r["isError"]) for r in await results(house)] == [("shelf__order", is_error)]


async def test_http_asks_the_hosts_that_the_session_lists_and_no_others(house: House, shelf: Shelf) -> None:
    port = shelf.url.rpartition(":")[2]
    await house.put_session(agents=agent_with({"builtin": "Http", "allowHosts": [f"127.0.0.1:{port}"]}))
    (offer,) = (await offers(house)).values()

    answer = await run(house, "http", {"url": f"{shelf.url}/calls"})

    assert (offer.name, offer.side_effect) == ("http", wire.SideEffect.NONE)
    assert offer.parameters["properties"]["method"]["enum"] == ["GET", "HEAD"]
    assert answer.output.startswith("HTTP 200\ncontent-type: application/json\n\n[]")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("http://localhost:1/", "[not_allowed] host localhost:1", id="another host"),
        pytest.param("http://user:word@127.0.0.1/", "[not_allowed] the url holds a user", id="a password"),
        pytest.param("file:///etc/passwd", "[not_allowed]", id="no web server at all"),
        pytest.param("http://127.0.0.1@evil.example/", "[not_allowed]", id="a host that looks like a user"),
    ],
)
async def test_http_refuses_what_is_not_listed(house: House, url: str, said: str) -> None:
    await house.put_session(agents=agent_with({"builtin": "Http", "allowHosts": ["127.0.0.1"]}))

    answer = await run(house, "http", {"url": url})

    assert answer.is_error
    assert answer.output.startswith(said)


def hostile_calls() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield two hundred calls that a model may be talked into."""
    deep: Any = "x"
    for _ in range(60):
        deep = {"a": deep}
    names = (
        "shelf__secret", "shelf_secret", "shelf.secret", "shelf/secret", "shelf__search__secret", "shelf__../secret",
        "secret", "SHELF__SEARCH", "shelf__search ", " shelf__search", "shelf__\u0430rder", "other__search", "call",
        "shelf__search\n", "__search", "shelf__", "http", "shell", "files", "x" * 64,
    )  # fmt: skip
    bodies: tuple[dict[str, Any], ...] = (
        {}, {"query": None}, {"query": ["a"]}, {"query": ""}, {"query": "x", "limit": "9"}, {"query": deep},
        {"limit": 2**53}, {"__proto__": {"query": "x"}}, {"query": {"$ref": "file:///etc/passwd"}}, {"Query": "x"},
    )  # fmt: skip
    for name in names:
        for body in bodies[:8]:
            yield name, body
    for body in bodies:
        for name in ("shelf__search", "shelf__order", "shelf__flood", "shelf__fail"):
            yield name, {**body, "token": 1, "part": 1, "size": "much"}


async def test_two_hundred_hostile_calls_reach_nothing_that_is_not_allowed(house: House, shelf: Shelf) -> None:
    calls, answers = list(hostile_calls()), []
    await open_shop(house, shelf)

    for begin in range(0, len(calls), A_TURN):
        some, pod = calls[begin : begin + A_TURN], f"hostile-{begin}"
        uid = await house.put_session(name=pod, pod=pod, agents=agent_with(SHELF_TOOL))
        asked = await ask_for(house, *some, pod=pod)
        for call_id, (name, _) in zip(asked, some, strict=True):
            answers.append(await call(house, call_id, name, await asked_arguments(house, call_id, uid), pod=pod))

    assert len(calls) == 200
    assert {response.status_code for response in answers} <= {200, 404, 422}
    assert all(response.json()["isError"] for response in answers if response.status_code == 200)
    assert await shelf.calls() == [], "nothing that does not fit its schema is sent to the server"
