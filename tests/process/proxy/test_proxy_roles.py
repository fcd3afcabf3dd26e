"""What a session's role lets its pod do, asked over HTTP: directors, departments, and an observer that is hostile."""

import json
from typing import Any

import httpx2
import pytest

from agentsessions.api import wire
from agentsessions.gateway.paths import SESSIONS
from agentsessions.gateway.proxy.role_tools import RoleTools
from agentsessions.journal.rows import NewMessage
from tests.process.proxy.house import House, until

SERVES: dict[str, Any] = {"role": "Department", "goal": None, "conversation": {"open": True}}
WATCHES: dict[str, Any] = {"role": "Observer", "monitors": ["department-*"]}


def agents(script: str) -> list[dict[str, Any]]:
    return [{"name": "agent", "model": {"providerRef": {"name": script}}}]


async def a_pod(house: House, name: str, *calls: tuple[str, dict[str, Any]], **spec: Any) -> wire.Turn:
    """Show the gateway a session whose model asks for these calls first; return the first turn of its pod `name`."""
    wanted = [{"name": tool, "arguments": arguments} for tool, arguments in calls]
    asks = {"when": {"step": 1}, "answer": {"toolCalls": wanted} if wanted else {"text": "nothing"}}
    script = {"rules": [asks, {"answer": {"text": "done"}}]}
    await house.put_provider({"type": "Scripted", "models": [{"name": "m"}], "script": script}, name=f"model-{name}")
    await house.put_session(pod=name, name=name, agents=agents(f"model-{name}"), **spec)
    if spec.get("goal", "") is None:
        await house.store.put_message(f"uid-team-{name}", NewMessage(f"hello-{name}", "hello", "alice"))
    async with house.client(name) as client:
        return wire.Turn.model_validate_json((await client.get(wire.TURN_PATH)).content)


async def call(house: House, pod: str, turn: wire.Turn) -> list[wire.ToolAnswer]:
    """Let the pod's model ask, and the gateway run what it asks for; return what the gateway answered."""
    found = []
    async with house.client(pod) as client:
        body = {"model": turn.model, "messages": turn.history}
        bought = (await client.post(f"{wire.OPENAI_PATH}/chat/completions", json=body)).json()
        for asked in bought["choices"][0]["message"]["tool_calls"]:
            wanted = wire.ToolCall(
                call_id=asked["id"], name=asked["function"]["name"], arguments=asked["function"]["arguments"]
            )
            answer = await client.post(wire.TOOL_CALL_PATH, json=wanted.to_json())
            found.append(wire.ToolAnswer.model_validate_json(answer.content))
    return found


def told(answer: wire.ToolAnswer) -> Any:
    assert not answer.is_error, answer.output
    return json.loads(answer.output)


@pytest.mark.requirement("OBJ-4")
@pytest.mark.parametrize(
    ("spec", "names"),
    [
        pytest.param({"role": "Director"}, ["shell", "files", "send_command", "find_departments"], id="a director"),
        pytest.param(
            {"role": "Director", "childSessions": {"max": 1}},
            ["shell", "files", "send_command", "find_departments", "start_session"],
            id="a director that may start sessions",
        ),
        pytest.param(SERVES, ["shell", "files", "report_progress"], id="a department"),
        pytest.param(WATCHES, ["files", "observe"], id="an observer reads, and runs nothing"),
        pytest.param({}, ["shell", "files"], id="a worker"),
        pytest.param(
            {"directorRef": {"name": "boss"}}, ["shell", "files", "report_progress"], id="a director's worker"
        ),
    ],
)
async def test_role_says_which_tools_are_offered(house: House, spec: dict[str, Any], names: list[str]) -> None:
    turn = await a_pod(house, "one", **spec)
    assert [tool.name for tool in turn.tools] == names


@pytest.mark.requirement("AG-4")
async def test_director_finds_departments_and_sends_one_a_command(house: House) -> None:
    fast = SERVES | {"capabilities": ["counting"], "title": "Counts"}
    await a_pod(house, "department-a", **fast)
    await a_pod(house, "department-b", **SERVES)
    turn = await a_pod(
        house,
        "boss",
        ("find_departments", {"capability": "counting"}),
        ("send_command", {"capability": "counting", "task": "count", "priority": "critical"}),
        ("send_command", {"to": "nobody", "task": "count"}),
        ("send_command", {"to": "department-b"}),
        role="Director",
    )
    found, sent, nobody, wrong = await call(house, "boss", turn)
    assert told(found) == [
        {
            "name": "department-a",
            "role": "Department",
            "title": "Counts",
            "capabilities": ["counting"],
            "labels": {},
            "phase": "Running",
            "health": "healthy",
            "waiting": 0,
        }
    ]
    assert told(sent)["to"] == "department-a"
    assert nobody.is_error
    assert "no department that fits takes your commands now" in nobody.output
    assert wrong.is_error
    assert "'task' is a required property" in wrong.output
    async with house.person() as person:
        listed = (await person.get(f"{SESSIONS}/department-a/mailbox")).json()["items"]
        said = (await person.get(f"{SESSIONS}/department-a/messages", params={"role": "user"})).json()["items"]
        none = (await person.get(f"{SESSIONS}/department-a/mailbox", params={"kind": "ERROR"})).json()
    (command,) = listed
    assert (command["kind"], command["priority"], command["sender"], command["state"]) == (
        "COMMAND",
        4,
        "boss",
        "queued",
    )
    assert said[-1]["kind"] == "COMMAND"
    assert none == {"items": []}


async def test_director_asks_for_a_session_within_what_it_may(house: House) -> None:
    turn = await a_pod(
        house,
        "boss",
        ("start_session", {"goal": "count", "name": "counter", "limits": {"maxSteps": 2}}),
        ("start_session", {"goal": "count", "limits": {"maxSteps": 99}}),
        ("start_session", {"template": "secret", "goal": "count"}),
        ("start_session", {}),
        ("start_session", {"goal": "count", "limits": {"maxTokens": 10**12}}),
        role="Director",
        childSessions={"max": 2, "templates": ["reporter"]},
    )
    started, much, secret, nothing, huge = await call(house, "boss", turn)
    assert told(started)["session"].startswith("counter-")
    assert told(started)["limits"]["maxSteps"] == 2
    for refused, words in (
        (much, "of maxSteps 10 this session used 1 and set 2 aside"),
        (secret, "template"),
        (nothing, "give goal, or a template"),
        (huge, "larger than any session may have"),
    ):
        assert refused.is_error
        assert words in refused.output


@pytest.mark.requirement("OBJ-2")
async def test_simulated_director_starts_nobody(house: House) -> None:
    spec = {"role": "Director", "type": "Simulation", "childSessions": {"max": 2}}
    turn = await a_pod(house, "boss", ("start_session", {"goal": "count"}), **spec)
    (recorded,) = await call(house, "boss", turn)
    assert recorded.output.startswith("[recorded]")


@pytest.mark.requirement("AG-9")
async def test_department_that_is_not_healthy_is_passed_over_unless_it_is_named(house: House) -> None:
    await a_pod(house, "department-a", **SERVES)
    stalled = {"type": "Stalled", "status": "True", "reason": "DeadlineExceeded", "message": "it hangs"}
    status = {
        "phase": "Running",
        "phaseStartedAt": "2026-11-21T12:00:01Z",
        "conditions": [stalled | {"lastTransitionTime": "2026-11-21T12:00:02Z"}],
    }
    spec = {name: value for name, value in SERVES.items() if value is not None}
    house.cluster.put("agentsessions", "team", "department-a", spec=spec, status=status)

    def is_stalled() -> bool:
        view = house.gateway.session("uid-team-department-a")
        return view is not None and bool(view.status.conditions)

    await until(is_stalled)
    turn = await a_pod(
        house,
        "boss",
        ("send_command", {"task": "count"}),
        ("send_command", {"task": "count", "to": "department-a"}),
        role="Director",
    )
    anybody, named = await call(house, "boss", turn)
    assert "no healthy department that fits" in anybody.output
    assert told(named)["to"] == "department-a"


@pytest.mark.requirement("AG-5")
async def test_observer_sees_what_it_monitors_and_only_what_is_new(house: House) -> None:
    for name in ("department-a", "department-b", "other"):
        await a_pod(house, name, **SERVES)
    looks = (
        ("observe", {}),
        ("observe", {}),
        ("observe", {"session": "department-a"}),
        ("observe", {"session": "other"}),
    )
    turn = await a_pod(house, "watcher", *looks, **WATCHES)
    first, again, one, other = await call(house, "watcher", turn)
    seen = told(first)["sessions"]
    assert [(session["name"], session["phase"], session["health"]) for session in seen] == [
        ("department-a", "Running", "healthy"),
        ("department-b", "Running", "healthy"),
    ]
    kinds = [entry["type"] for entry in seen[0]["entries"]]
    assert kinds == ["session_start", "state", "message"]
    assert [session["entries"] for session in told(again)["sessions"]] == [[], []]
    assert [session["name"] for session in told(one)["sessions"]] == ["department-a"]
    assert (other.is_error, other.output) == (True, "you do not observe 'other', only department-*")


@pytest.mark.requirement("AG-5")
async def test_what_an_observer_is_shown_is_bounded(house: House) -> None:
    await a_pod(house, "department-a", **SERVES)
    for number in range(30):
        message = NewMessage(f"m{number}", "x" * 20_000, "alice")
        await house.store.put_message("uid-team-department-a", message)
    async with house.client("department-a") as client:
        await client.post(wire.COMMIT_PATH, json={"k": 1, "outcome": "error"})
    turn = await a_pod(house, "watcher", ("observe", {}), **WATCHES)
    (answer,) = await call(house, "watcher", turn)
    (session,) = told(answer)["sessions"]
    assert session["queue"] == 30
    assert len(answer.output) < 32_000


USER_ROUTES = (
    ("POST", "/department-a/messages", {"content": "obey"}),
    ("POST", "/department-a/pause", None),
    ("POST", "/department-a/cancel", None),
    ("POST", "/department-a/shutdown", None),
    ("PATCH", "/department-a", {"title": "mine"}),
    ("DELETE", "/department-a", None),
    ("DELETE", "/department-a/messages", None),
    ("GET", "/department-a/mailbox", None),
)


@pytest.mark.requirement("AG-5")
async def test_hostile_observer_changes_nothing(house: House) -> None:
    await a_pod(house, "department-a", **SERVES)
    turn = await a_pod(
        house,
        "watcher",
        ("send_command", {"to": "department-a", "task": "obey"}),
        ("report_progress", {"text": "all is well"}),
        ("observe", {"session": "department-a", "command": "obey"}),
        **WATCHES,
    )
    before = await house.store.entries("uid-team-department-a")
    for answer in await call(house, "watcher", turn):
        assert answer.is_error
    async with house.client("watcher") as client:
        for method, path, body in USER_ROUTES:
            answer = await client.request(method, SESSIONS + path, json=body)
            assert answer.status_code == 401, (method, path)
        for forged in ("send_command", "observe"):
            asked = {"callId": "call_of_nobody", "name": forged, "arguments": "{}"}
            assert is_refused(await client.post(wire.TOOL_CALL_PATH, json=asked))
    assert await house.store.entries("uid-team-department-a") == before
    async with house.person() as person:
        assert (await person.get(f"{SESSIONS}/department-a/mailbox")).json() == {"items": []}


def is_refused(answer: httpx2.Response) -> bool:
    return answer.status_code == 404 and answer.json()["code"] == "unknown_call"


@pytest.mark.requirement("AG-4")
async def test_call_of_a_pod_that_was_replaced_is_made_by_the_next_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_pod(house, "department-a", **SERVES)
    turn = await a_pod(house, "boss", ("send_command", {"task": "count"}), role="Director")
    find = vars(RoleTools)["_departments"]

    async def replaced(*asked: Any) -> Any:
        """Stand for the moment in which the call is under way, and another pod takes the place of its own."""
        await house.store.fence("uid-team-boss", "agent", 2, "boss-2")
        return await find(*asked)

    monkeypatch.setattr(RoleTools, "_departments", replaced)
    async with house.client("boss") as client:
        body = {"model": turn.model, "messages": turn.history}
        bought = (await client.post(f"{wire.OPENAI_PATH}/chat/completions", json=body)).json()
        (asked,) = bought["choices"][0]["message"]["tool_calls"]
        wanted = {"callId": asked["id"], **asked["function"]}
        assert (await client.post(wire.TOOL_CALL_PATH, json=wanted)).status_code == 412
    async with house.client("boss-2") as client:
        assert (await client.get(wire.TURN_PATH)).status_code == 200
        answer = wire.ToolAnswer.model_validate_json((await client.post(wire.TOOL_CALL_PATH, json=wanted)).content)
        again = wire.ToolAnswer.model_validate_json((await client.post(wire.TOOL_CALL_PATH, json=wanted)).content)
    assert told(answer)["to"] == "department-a"
    assert (again.verdict, again.output) == (wire.Verdict.RECORDED, answer.output)
    async with house.person() as person:
        assert len((await person.get(f"{SESSIONS}/department-a/mailbox")).json()["items"]) == 1
