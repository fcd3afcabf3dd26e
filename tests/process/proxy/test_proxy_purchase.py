"""Buying through the whole gateway: what is journaled, what is relayed, what is paid for once."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentsessions.api import wire
from agentsessions.journal.entries import EntryType
from tests.plain_http import open_plain
from tests.process.proxy.cluster import Cluster
from tests.process.proxy.house import (
    API_KEY,
    LONG_SECONDS,
    MESSAGES,
    MODELS,
    House,
    Provider,
    open_house,
    spec_of,
    until,
)

UID = "uid-team-s"


def said(response: httpx2.Response) -> str:
    assert response.status_code == 200, response.text
    content: str = response.json()["choices"][0]["message"]["content"]
    return content


def error_of(response: httpx2.Response) -> tuple[int, str]:
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert body["error"]["code"] == body["code"]
    assert set(body["error"]) == {"message", "type", "code"}
    return response.status_code, body["code"]


async def usage(house: House) -> tuple[int, int, int]:
    level = await house.store.level(UID)
    assert level is not None
    return level.steps, level.input_tokens, level.output_tokens


async def test_answer_is_journaled_counted_and_relayed(house: House) -> None:
    assert said(await house.ask()) == "hellothere"

    assert await house.types() == ["step_start", "output", "step_complete"]
    assert await usage(house) == (1, 50, 5)
    assert await house.store.verify(UID) == []


async def test_request_goes_upstream_streamed_capped_and_under_the_providers_name(
    house: House, provider: Provider
) -> None:
    spec = spec_of(provider, "nice")
    spec["models"] = [{"name": "nice", "upstreamName": "good", "maxTokensParameter": "max_completion_tokens"}]
    await house.put_provider(spec)

    response = await house.ask("nice", max_tokens=70, temperature=0.5)

    assert response.json()["model"] == "nice"
    (asked,) = await provider.asked()
    assert asked["body"] == {
        "model": "good",
        "messages": MESSAGES,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 70,
    }
    assert asked["headers"]["authorization"] == f"Bearer {API_KEY}"


async def test_the_connection_to_a_provider_is_used_again(house: House, provider: Provider) -> None:
    for question in ("one", "two", "three"):
        said(await house.ask(messages=[{"role": "user", "content": question}]))

    assert len({asked["port"] for asked in await provider.asked()}) == 1


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("model", "want", "tries"),
    [
        pytest.param("cut-text", (503, "network"), 3, id="a cut text"),
        pytest.param("cut-call", (503, "network"), 3, id="a cut tool call"),
        pytest.param("no-finish", (503, "network"), 3, id="no finish_reason"),
        pytest.param("broken", (503, "overloaded"), 3, id="500 for ever"),
        pytest.param("full", (503, "rate_limited"), 3, id="429 for ever"),
        pytest.param("error-inside", (503, "overloaded"), 3, id="an error inside the stream"),
        pytest.param("spent", (503, "rate_limited"), 1, id="429 that waiting does not mend"),
        pytest.param("long", (400, "context_too_long"), 1, id="context too long"),
        pytest.param("long-inside", (400, "context_too_long"), 1, id="context too long, said inside the stream"),
        pytest.param("later", (503, "rate_limited"), 1, id="429 that asks for more patience than a purchase has"),
        pytest.param("picky", (502, "model_error"), 1, id="another refusal"),
        pytest.param("malformed", (502, "model_error"), 1, id="malformed JSON"),
        pytest.param("two-choices", (502, "model_error"), 1, id="a second choice"),
        pytest.param("length", (502, "model_error"), 1, id="cut at the provider's own length"),
        pytest.param("empty", (502, "empty_answer"), 1, id="an empty answer"),
    ],
)
async def test_failure_is_typed_and_leaves_no_half_message(
    house: House, provider: Provider, model: str, want: tuple[int, str], tries: int, *, is_streamed: bool
) -> None:
    response = await house.ask(model, stream=is_streamed)

    if response.status_code == 200:
        # The provider had begun to answer, so headers were sent: the error is the only event.
        (line,) = [line for line in response.text.splitlines() if line.startswith("data:")]
        error = json.loads(line.removeprefix("data:"))["error"]
        assert is_streamed
        assert error["code"] == want[1]
    else:
        assert error_of(response) == want
        assert response.headers["x-should-retry"] == "false"
    assert len(await provider.asked()) == tries
    assert await house.types() == ["step_start", "error"]


async def test_a_passing_refusal_is_tried_again_and_sold_once(house: House, provider: Provider) -> None:
    assert said(await house.ask("flaky")) == "secondtry"

    assert len(await provider.asked()) == 2
    assert await usage(house) == (1, 50, 5)


async def test_answer_without_usage_is_charged_by_estimate(house: House) -> None:
    assert said(await house.ask("no-usage")) == "hello"

    steps, input_tokens, output_tokens = await usage(house)
    assert (steps, output_tokens) == (1, 3)
    assert input_tokens > 20
    complete = next(e for e in await house.store.entries(UID) if e.type is EntryType.STEP_COMPLETE)
    assert complete.body is not None
    assert complete.body["estimated"] is True


async def test_a_provider_that_does_not_stream_is_understood(house: House) -> None:
    assert said(await house.ask("whole")) == "in one piece"


async def test_equal_requests_in_flight_buy_once(house: House, provider: Provider) -> None:
    asking = [asyncio.create_task(house.ask("slow", stream=streamed)) for streamed in (False, True, False)]
    await provider.wait_for_request()
    await provider.release()
    responses = await asyncio.gather(*asking)

    assert [response.status_code for response in responses] == [200, 200, 200]
    assert len(await provider.asked()) == 1
    assert await usage(house) == (1, 50, 5)


async def test_replay_after_a_restart_buys_nothing(cluster: Cluster, provider: Provider, database: str) -> None:
    cluster.put_secret("team", "key", value=API_KEY)
    async with open_house(cluster, database) as house:
        await house.put_provider(spec_of(provider, *MODELS))
        await house.put_session()
        await play(house)
        first = await house.ask("same-ids")
    async with open_house(cluster, database) as house:
        await house.put_session(pod="p2", epoch=2)
        await play(house, "p2")
        second = await house.ask("same-ids", pod="p2")
        stale = await house.ask("same-ids", pod="p1")

    assert first.json() == second.json()
    assert len(await provider.asked()) == 1
    assert error_of(stale) == (412, "stale_epoch")
    assert stale.headers["x-should-retry"] == "false"


async def play(house: House, pod: str = "p1") -> wire.Turn:
    async with house.client(pod) as client:
        response = await client.get(wire.TURN_PATH)
    assert response.status_code == 200, response.text
    return wire.Turn.model_validate_json(response.content)


async def test_a_client_that_goes_away_still_has_its_answer_journaled(house: House, provider: Provider) -> None:
    asking = asyncio.create_task(house.ask("slow", stream=True))
    await provider.wait_for_request()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await provider.release()
    await house.gateway.proxy.drain(10)

    assert await house.types() == ["step_start", "output", "step_complete"]
    assert await usage(house) == (1, 50, 5)


async def test_a_new_epoch_waits_for_the_purchase_of_the_old_one(house: House, provider: Provider) -> None:
    await play(house)
    old = asyncio.create_task(house.ask("slow"))
    await provider.wait_for_request()
    await house.put_session(pod="p2", epoch=2)
    await play(house, "p2")
    new = asyncio.create_task(house.ask("slow", pod="p2"))
    await provider.release()

    assert said(await new) == "atlast"
    await old
    assert len(await provider.asked()) == 1
    assert await usage(house) == (1, 50, 5)


@pytest.mark.parametrize("model", ["same-ids", "no-ids"])
async def test_call_ids_are_unique_and_mapped_back_upstream(house: House, provider: Provider, model: str) -> None:
    answer = (await house.ask(model)).json()["choices"][0]["message"]
    ids = [call["id"] for call in answer["tool_calls"]]
    results = [{"role": "tool", "tool_call_id": call_id, "content": "ok"} for call_id in ids]
    again = (await house.ask(model, messages=[*MESSAGES, answer, *results])).json()["choices"][0]["message"]

    all_ids = ids + [call["id"] for call in again["tool_calls"]]
    assert len(set(all_ids)) == 4
    _, asked = await provider.asked()
    sent = asked["body"]["messages"]
    known = {"dup"} if model == "same-ids" else set(ids)
    assert {call["id"] for call in sent[1]["tool_calls"]} == known
    assert {message["tool_call_id"] for message in sent[2:]} == known


@pytest.mark.parametrize(
    ("model", "name", "arguments"),
    [("bad-arguments", "shell", '{"command": '), ("unknown-tool", "teleport", '{"command":"ls"}')],
)
async def test_calls_that_cannot_run_are_relayed_as_the_model_wrote_them(
    house: House, model: str, name: str, arguments: str
) -> None:
    (call,) = (await house.ask(model)).json()["choices"][0]["message"]["tool_calls"]

    assert call["function"] == {"name": name, "arguments": arguments}
    assert "tool_call" in await house.types()


@pytest.mark.requirement("LIM-1")
async def test_limits_are_refused_with_402_and_recorded(house: House, provider: Provider) -> None:
    await house.put_session(limits={"maxSteps": 1})
    await house.ask()

    response = await house.ask(messages=[{"role": "user", "content": "another"}])

    assert error_of(response) == (402, "step_limit")
    assert response.headers["x-should-retry"] == "false"
    level = await house.store.level(UID)
    assert level is not None
    assert level.limit_reached == "steps"
    assert len(await provider.asked()) == 1


@pytest.mark.requirement("LIM-1")
async def test_an_answer_that_the_token_limit_cut_is_no_result(house: House) -> None:
    await house.put_session(limits={"maxTokens": 300})

    response = await house.ask("length")

    assert error_of(response) == (402, "token_limit")
    assert "output" not in await house.types()


@pytest.mark.requirement("LIM-1")
async def test_an_answer_with_too_many_tool_calls_is_kept_from_the_pod(house: House) -> None:
    await house.put_session(limits={"maxToolCalls": 1})

    assert error_of(await house.ask("same-ids")) == (402, "tool_call_limit")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param({"model": "other"}, 404, "model_not_found", id="a model that is not on offer"),
        pytest.param({"n": 2}, 400, "unsupported_field", id="two answers"),
        pytest.param({"prediction": {"content": "x"}}, 400, "unsupported_field", id="a field that costs"),
        pytest.param({"tools": [{"type": "web_search"}]}, 400, "unsupported_tool", id="a hosted tool"),
        pytest.param({"messages": []}, 400, "no_messages", id="no messages"),
        pytest.param({"messages": ["hello"]}, 400, "no_messages", id="messages that are text"),
        pytest.param({"max_tokens": 0}, 400, "bad_max_tokens", id="no room"),
        pytest.param({"max_tokens": True}, 400, "bad_max_tokens", id="room that is no number"),
    ],
)
async def test_requests_that_are_refused_cost_nothing(
    house: House, provider: Provider, body: dict[str, Any], status: int, code: str
) -> None:
    response = await house.ask(**({"model": "good"} | body))

    assert error_of(response) == (status, code)
    assert await provider.asked() == []
    assert await house.types() == []


async def test_bodies_that_are_no_request_are_refused(house: House) -> None:
    async with house.client() as client:
        path = "/openai/v1/chat/completions"
        deep = b'{"model": "good", "messages": [{"role": "user", "content": %s1%s}]}' % (b"[" * 400, b"]" * 400)
        bodies = (b"{", b"[]", b"{}", deep, b"x" * 8_400_000)
        responses = [await client.post(path, content=body) for body in bodies]

    assert [error_of(response) for response in responses] == [
        (400, "not_json"),
        (400, "not_json"),
        (400, "no_model"),
        (400, "not_json"),
        (413, "too_large"),
    ]


async def test_a_stranger_cannot_fill_the_memory_with_a_body(house: House) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 65_536

    async with open_plain(house.url, timeout=LONG_SECONDS) as client:
        response = await client.post(wire.TOOL_SETTLE_PATH, content=endless())

    assert (response.status_code, response.json()["code"]) == (413, "too_large")


async def test_draining_sells_nothing_new_and_waits_for_what_is_sold(house: House, provider: Provider) -> None:
    asking = asyncio.create_task(house.ask("slow"))
    await provider.wait_for_request()
    draining = asyncio.create_task(house.gateway.proxy.drain(20))
    await asyncio.sleep(0)

    refused = await house.ask("good")
    await provider.release()

    assert error_of(refused) == (503, "unavailable")
    assert said(await asking) == "atlast"
    assert await draining == 0


@pytest.mark.requirement("ID-5")
async def test_the_key_reaches_neither_pod_nor_logs_nor_journal(
    house: House, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level("DEBUG")

    responses = [await house.ask(model) for model in ("key", "good", "broken")]

    assert API_KEY not in "".join(response.text + str(response.headers) for response in responses)
    assert "[key]" in responses[0].text
    captured = capsys.readouterr()
    assert API_KEY not in captured.out + captured.err + caplog.text
    files = [path for path in tmp_path.iterdir() if path.is_file()]  # noqa: ASYNC240 - a handful
    assert all(API_KEY.encode() not in path.read_bytes() for path in files)


async def test_a_rotated_key_is_read_anew_and_a_missing_one_is_named(house: House, provider: Provider) -> None:
    spec = spec_of(provider, "good") | {"apiKeySecretRef": {"name": "absent", "key": "value"}}
    await house.put_provider(spec)

    missing = await house.ask()
    house.cluster.put_secret("team", "absent", value="sk-new")
    found = await house.ask()

    assert error_of(missing) == (502, "model_error")
    assert "Secret team/absent" in missing.json()["detail"]
    assert said(found) == "hellothere"


async def test_a_provider_that_is_not_there_passes(house: House) -> None:
    house.cluster.remove("modelproviders", "team", "default")
    await until(lambda: house.gateway.proxy.directory.find("team", "default") is None)

    assert error_of(await house.ask()) == (503, "unavailable")


async def test_a_shared_provider_serves_other_namespaces_and_an_unshared_one_does_not(
    house: House, provider: Provider
) -> None:
    directory = house.gateway.proxy.directory
    await house.put_provider(spec_of(provider, "good"), "closed", "agentsessions-system")
    await house.put_provider(spec_of(provider, "good") | {"shared": True}, "open", "agentsessions-system")

    assert directory.find("team", "closed") is None
    shared = directory.find("team", "open")
    assert shared is not None
    assert shared.namespace == "agentsessions-system"


async def test_a_stream_that_the_process_breaks_off_ends_with_an_error(house: House, provider: Provider) -> None:
    asking = asyncio.create_task(house.ask("slow-stream", stream=True))
    await provider.wait_for_request()
    await until(lambda: any(one.begun.is_set() for one in house.gateway.proxy.purchases.under_way))
    await house.gateway.proxy.purchases.close()

    response = await asking

    assert '"code":"unavailable"' in response.text
    assert "[DONE]" not in response.text


async def test_what_was_open_when_the_process_died_is_charged_in_full(
    cluster: Cluster, provider: Provider, database: str
) -> None:
    cluster.put_secret("team", "key", value=API_KEY)
    async with open_house(cluster, database) as house:
        await house.put_provider(spec_of(provider, "slow"))
        await house.put_session()
        asking = asyncio.create_task(house.ask("slow"))
        await provider.wait_for_request()
        await house.gateway.proxy.purchases.close()
        await asyncio.gather(asking, return_exceptions=True)
    async with open_house(cluster, database) as house:
        steps, _, output_tokens = await usage(house)

    assert (steps, output_tokens) == (1, 4000)


async def test_a_provider_in_a_network_that_is_not_allowed_is_not_dialled(house: House, provider: Provider) -> None:
    spec = spec_of(provider, "good")
    await house.put_provider(spec | {"url": spec["url"].replace("127.0.0.1", "[::1]")})

    refused = await house.ask()

    assert error_of(refused) == (502, "model_error")
    assert "allow its network" in refused.json()["detail"]


async def test_proxies_of_the_environment_are_not_used(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert said(await house.ask()) == "hellothere"


async def test_attempts_of_a_script_go_on_counting_in_the_next_purchase(house: House) -> None:
    rules = [{"when": {"attempt": number}, "answer": {"error": {"status": 500}}} for number in (1, 2, 3)]
    rules.append({"when": {"attempt": 4}, "answer": {"text": "finally"}})
    spec = {"type": "Scripted", "models": [{"name": "tiny"}], "script": {"rules": rules}}
    await house.put_provider(spec)

    assert error_of(await house.ask("tiny")) == (503, "overloaded")
    assert said(await house.ask("tiny")) == "finally"


async def test_an_answer_that_cannot_be_journaled_is_charged_and_may_be_bought_again(house: House) -> None:
    # More tokens than a column of the journal can hold.
    assert error_of(await house.ask("absurd")) == (502, "model_error")
    assert (await usage(house))[0] == 1

    assert error_of(await house.ask("absurd")) == (502, "model_error")
    assert (await usage(house))[0] == 2
    assert await house.types() == ["step_start", "error", "error"]


async def test_the_first_call_of_a_foreign_program_journals_the_goal_with_its_context(house: House) -> None:
    uid = await house.put_session(pod="p2", name="foreign", context={"text": "in metres"})

    assert said(await house.ask(pod="p2")) == "hellothere"

    (message,) = [entry for entry in await house.store.entries(uid) if entry.type is EntryType.MESSAGE]
    assert message.body == {"role": "user", "content": "say hello\n\nContext:\nin metres"}


async def test_an_agent_that_is_done_has_no_next_turn(house: House) -> None:
    turn = await play(house)
    said(await house.ask())
    async with house.client() as client:
        commit = wire.Commit(k=turn.k, outcome=wire.Outcome.FINAL).to_json()
        assert (await client.post(wire.COMMIT_PATH, json=commit)).status_code == 204
        assert (await client.get(wire.TURN_PATH)).status_code == 204
    await house.put_session(pod="p1b", epoch=2)
    async with house.client("p1b") as client:
        assert (await client.get(wire.TURN_PATH)).status_code == 204
