"""People and a session talk: a real runner that waits, the gateway that holds it, and a scripted model."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api import wire
from agentsessions.api.levels import Level
from agentsessions.api.reasons import ExitCode
from agentsessions.api.v1alpha1.status import RoundStatus
from agentsessions.journal import inbox
from agentsessions.journal.entries import EntryType
from tests.integration.runner_process import RunnerProcess
from tests.process.proxy.cluster import Cluster
from tests.process.proxy.house import LONG_SECONDS, House, open_house

UID = "uid-team-s"
MESSAGES = "/api/v1/agent-sessions/s/messages"
ECHO = [{"answer": {"text": "you said: ${text}"}}]
OPEN = {"conversation": {"open": True}}
CLOSED = {"conversation": {"open": False}}
SOON_SECONDS = 10
"""It takes milliseconds, on a machine that others use too; and far less than a request is held."""


class Talk:
    """A session, its runner, and a person."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.runner = RunnerProcess(folder)
        self.process: asyncio.subprocess.Process | None = None
        (folder / "token").write_text("pod-p1")

    async def start(self) -> asyncio.subprocess.Process:
        self.process = await self.runner.start(self.house.url)
        return self.process

    async def end(self) -> None:
        """Leave no process behind, whatever became of the test."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def say(self, content: str) -> str:
        async with self.house.person() as person:
            answer = await person.post(MESSAGES, json={"content": content})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def level(self) -> Level:
        level = await self.house.store.level(UID)
        assert level is not None
        return level

    async def until(self, **want: Any) -> Level:
        """Wait until the session's level is as wanted, looking at it when it changes."""
        with self.house.store.changes() as changes:
            async with asyncio.timeout(LONG_SECONDS):
                while True:
                    level = await self.level()
                    if all(getattr(level, name) == value for name, value in want.items()):
                        return level
                    await anext(changes)

    async def until_it_waits(self) -> None:
        with self.house.store.changes() as changes:
            async with asyncio.timeout(LONG_SECONDS):
                while (await self.level()).idle_since is None:
                    await anext(changes)

    async def outcome(self) -> tuple[wire.Outcome, str | None]:
        level = await self.level()
        assert level.closing is not None
        return level.closing.outcome, level.result


@pytest.fixture
async def talk(house: House, tmp_path: Path) -> AsyncIterator[Talk]:
    await house.put_provider({"type": "Scripted", "models": [{"name": "tiny"}], "script": {"rules": ECHO}})
    folder = tmp_path / "runner"
    folder.mkdir()
    talk = Talk(house, folder)
    yield talk
    await talk.end()


async def ended(process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(LONG_SECONDS):
        return await process.wait()


@pytest.mark.requirement("CONV-1")
async def test_message_is_answered_by_the_pod_that_waits_until_the_conversation_is_closed(talk: Talk) -> None:
    await talk.house.put_session(**OPEN)
    process = await talk.start()
    await talk.until_it_waits()
    sent = await talk.say("and you?")
    await talk.until(turns=2)
    async with talk.house.person() as person:
        message = (await person.get(f"{MESSAGES}/{sent}")).json()
    assert (message["state"], message["actor"], message["turn"]) == ("answered", "alice", 2)

    await talk.until_it_waits()
    await talk.house.put_session(**CLOSED)
    assert await ended(process) == ExitCode.DONE
    assert await talk.outcome() == (wire.Outcome.FINAL, "you said: and you?")
    assert await talk.house.store.verify(UID) == []


@pytest.mark.requirement("LIFE-8")
async def test_pod_with_nothing_to_do_ends_and_the_next_one_takes_what_was_said(talk: Talk) -> None:
    await talk.house.put_session(conversation={"open": True, "idleSeconds": 0})
    assert await talk.runner.run(talk.house.url) == ExitCode.IDLE
    assert await talk.outcome() == (wire.Outcome.IDLE, "you said: say hello")

    await talk.say("one")
    await talk.say("two")
    assert (await talk.level()).inbox_pending == 2
    await talk.house.put_session(conversation={"open": True, "idleSeconds": 0}, pod="p2", epoch=2)
    (talk.runner.workspace.parent / "token").write_text("pod-p2")
    assert await talk.runner.run(talk.house.url) == ExitCode.IDLE
    level = await talk.level()
    assert (level.inbox_pending, level.result, level.turns) == (0, "you said: two", 2)


@pytest.mark.requirement("LIFE-8")
async def test_pod_waits_as_long_as_the_session_says(talk: Talk) -> None:
    await talk.house.put_session(conversation={"open": True, "idleSeconds": 1})
    assert await talk.runner.run(talk.house.url) == ExitCode.IDLE
    level = await talk.level()
    assert level.idle_since is None
    assert level.idle_seconds <= 1


@pytest.mark.requirement("LIFE-4")
@pytest.mark.requirement("LIFE-5")
@pytest.mark.parametrize(
    ("spec", "code"),
    [
        pytest.param({"operatingMode": "Paused"}, ExitCode.PAUSED, id="a pause"),
        pytest.param({"operatingMode": "Cancelled"}, ExitCode.TERMINATED, id="a cancel"),
    ],
)
async def test_waiting_pod_is_told_at_once(talk: Talk, spec: dict[str, str], code: ExitCode) -> None:
    await talk.house.put_session(**OPEN)
    process = await talk.start()
    await talk.until_it_waits()
    await talk.house.put_session(**OPEN, **spec)
    assert await asyncio.wait_for(ended(process), SOON_SECONDS) == code


@pytest.mark.requirement("LIFE-8")
async def test_waiting_pod_survives_a_restart_of_the_gateway(talk: Talk, cluster: Cluster, tmp_path: Path) -> None:
    database, here = f"sqlite:///{tmp_path / 'other.db'}", talk.house
    async with open_house(cluster, database) as first:
        await first.put_session(**OPEN)
        talk.house = first
        process = await talk.start()
        await talk.until_it_waits()
        port = int(first.url.rsplit(":", 1)[1])
    async with open_house(cluster, database, port) as second:
        talk.house = second
        await talk.say("still there?")
        await talk.until(turns=2)
        assert process.returncode is None
    talk.house = here


@pytest.mark.requirement("LIFE-5")
async def test_waiting_pod_ends_at_once_when_told_to(talk: Talk) -> None:
    await talk.house.put_session(**OPEN)
    process = await talk.start()
    await talk.until_it_waits()
    process.terminate()
    assert await asyncio.wait_for(ended(process), SOON_SECONDS) == ExitCode.TERMINATED


@pytest.mark.requirement("OBJ-2")
async def test_rounds_are_played_by_one_pod_when_they_follow_each_other_soon(talk: Talk) -> None:
    await talk.house.put_session(type="Metrics", schedule={"intervalSeconds": 4, "durationSeconds": 8})
    assert await talk.runner.run(talk.house.url) == ExitCode.DONE
    level = await talk.level()
    assert level.round == RoundStatus(number=2, completed=2, missed=0)
    assert await talk.outcome() == (wire.Outcome.FINAL, "you said: say hello")
    complete = [e.body or {} for e in await talk.house.store.entries(UID) if e.type is EntryType.ROUND_COMPLETE]
    assert [body["round"] for body in complete] == [1, 2]
    assert all(body["startedAt"] >= body["dueAt"] for body in complete)
    async with talk.house.person() as person:
        steps = (await person.get("/api/v1/agent-sessions/s/steps")).json()["items"]
    assert [(step["round"], step["number"]) for step in steps] == [(1, 1), (2, 1)]


@pytest.mark.requirement("OBJ-2")
async def test_pod_is_let_go_between_rounds_that_are_far_apart(talk: Talk) -> None:
    await talk.house.put_session(type="Metrics", schedule={"intervalSeconds": 3600, "durationSeconds": 7200})
    assert await talk.runner.run(talk.house.url) == ExitCode.IDLE
    level = await talk.level()
    assert level.round is not None
    assert level.round.next_at is not None


async def first_wait(talk: Talk) -> wire.Turn:
    """Play the first turn as a pod of few words; return what it is told next."""
    async with talk.house.client() as pod:
        turn = wire.Turn.model_validate_json((await pod.get(wire.TURN_PATH)).content)
        await pod.post(f"{wire.OPENAI_PATH}/chat/completions", json={"model": turn.model, "messages": turn.history})
        commit = wire.Commit(k=turn.k, outcome=wire.Outcome.FINAL)
        answer = await pod.post(wire.COMMIT_PATH, json=commit.to_json())
        again = await pod.post(wire.COMMIT_PATH, json=commit.to_json())
    assert again.content == answer.content
    return wire.Turn.model_validate_json(answer.content)


async def test_question_for_a_turn_is_held_back_and_ended_by_a_message(talk: Talk) -> None:
    await talk.house.put_session(**OPEN)
    assert (await first_wait(talk)).control is wire.Control.WAIT
    async with talk.house.client() as pod:
        asking = asyncio.create_task(pod.get(wire.TURN_PATH))
        done, _ = await asyncio.wait({asking}, timeout=0.5)
        assert not done
        await talk.say("there you are")
        turn = wire.Turn.model_validate_json((await asyncio.wait_for(asking, SOON_SECONDS)).content)
    assert (turn.k, turn.control) == (2, wire.Control.GO)
    assert turn.history[-1] == {"role": "user", "content": "there you are"}


async def test_question_for_a_turn_is_not_held_for_ever(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsessions.gateway.proxy.routes.LONGEST_HOLD_SECONDS", 0.2)
    await talk.house.put_session(**OPEN)
    await first_wait(talk)
    async with talk.house.client() as pod:
        turn = wire.Turn.model_validate_json((await pod.get(wire.TURN_PATH)).content)
    assert (turn.k, turn.control, turn.history) == (2, wire.Control.WAIT, [])


async def test_gateway_that_stops_sends_waiting_pods_to_the_next_one(talk: Talk) -> None:
    await talk.house.put_session(**OPEN)
    await first_wait(talk)
    async with talk.house.client() as pod:
        asking = asyncio.create_task(pod.get(wire.TURN_PATH))
        await asyncio.wait({asking}, timeout=0.2)
        talk.house.gateway.changes.stop()
        answer = await asyncio.wait_for(asking, SOON_SECONDS)
        assert (answer.status_code, (await pod.get(wire.TURN_PATH)).status_code) == (503, 503)
    assert answer.headers["retry-after"]


async def test_session_of_few_words_begins_with_a_message_and_an_empty_context_is_none(talk: Talk) -> None:
    await talk.house.put_session(goal=None, context={}, name="t", pod="p9", **OPEN)
    async with talk.house.person() as person, talk.house.client("p9") as pod:
        await person.post(MESSAGES.replace("/s/", "/t/"), json={"content": "hello"})
        turn = wire.Turn.model_validate_json((await pod.get(wire.TURN_PATH)).content)
    assert turn.history == [{"role": "user", "content": "hello"}]


@pytest.mark.requirement("CONV-1")
@pytest.mark.requirement("OPS-8")
async def test_messages_are_sent_once_for_each_key(talk: Talk) -> None:
    await talk.house.put_session(**OPEN)
    async with talk.house.person() as person:
        first = await person.post(MESSAGES, json={"content": "hello"}, headers={"Idempotency-Key": "k"})
        again = await person.post(MESSAGES, json={"content": "hello", "idempotencyKey": "k"})
        other = await person.post(MESSAGES, json={"content": "something else", "idempotencyKey": "k"})
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert (other.status_code, other.json()["code"]) == (409, "key_reused")
        for number in range(3):
            await person.post(MESSAGES, json={"content": str(number)})
        sent = {"role": "user"}
        page = (await person.get(MESSAGES, params={"limit": 4, **sent})).json()
        assert [item["content"] for item in page["items"]] == ["say hello", "hello", "0", "1"]
        rest = (await person.get(MESSAGES, params={"after": page["next"], **sent})).json()
        assert [item["state"] for item in rest["items"]] == ["queued"]
        assert "next" not in rest


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({"content": ""}, 422, id="nothing"),
        pytest.param({"content": "a" * 262_145}, 413, id="too much"),
        pytest.param({"content": "hello", "rank": "high"}, 422, id="a field that is not there"),
        pytest.param({"content": "a" * 262_144}, 201, id="the most"),
    ],
)
async def test_messages_are_checked(talk: Talk, body: dict[str, str], status: int) -> None:
    await talk.house.put_session(**OPEN)
    async with talk.house.person() as person:
        assert (await person.post(MESSAGES, json=body)).status_code == status


@pytest.mark.requirement("ID-1")
async def test_messages_need_a_right(talk: Talk) -> None:
    await talk.house.put_session(**OPEN)
    async with talk.house.person("stranger") as stranger:
        answers = [await stranger.post(MESSAGES, json={"content": "hello"}), await stranger.get(MESSAGES)]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert "send agentsessions" in answers[0].json()["detail"]
    async with talk.house.client() as pod:
        assert (await pod.post(MESSAGES, json={"content": "hello"})).status_code == 401


async def test_message_to_a_full_inbox_is_told_when_to_come_back(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MOST_QUEUED", 1)
    await talk.house.put_session(**OPEN)
    async with talk.house.person() as person:
        first, second = [await person.post(MESSAGES, json={"content": text}) for text in ("one", "two")]
    assert first.status_code == 201
    assert (second.status_code, second.json()["code"]) == (429, "inbox_full")
    assert second.headers["retry-after"] == "10"
    assert "send again once a turn took them" in second.json()["detail"]


async def test_message_to_nobody_and_to_who_is_done_is_refused(talk: Talk) -> None:
    await talk.house.put_session(**CLOSED)
    assert await talk.runner.run(talk.house.url) == ExitCode.DONE
    async with talk.house.person() as person:
        done = await person.post(MESSAGES, json={"content": "hello"})
        nobody = await person.post("/api/v1/agent-sessions/nobody/messages", json={"content": "hello"})
        nothing = await person.get(f"{MESSAGES}/nothing")
    assert (done.status_code, done.json()["code"]) == (409, "session_finished")
    assert (nobody.status_code, nothing.status_code) == (404, 404)
