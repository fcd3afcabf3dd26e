"""A session that is over spends no more: purchases under way are broken off, and charged once for what they used."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest

from agentsessions.api.levels import Level
from agentsessions.api.reasons import RefusalCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.proxy.answer import Answer
from agentsessions.gateway.proxy.checks import find_model, read_request
from agentsessions.gateway.proxy.purchase import BrokenOff, Purchase, Wanted
from agentsessions.journal.rows import PodIdentity
from tests.process.proxy.house import MESSAGES, House, Provider, until
from tests.process.proxy.test_proxy_purchase import UID, error_of, play, said

SOON_SECONDS = 5
"""It takes milliseconds; a machine may be busy."""
RUNNING: dict[str, Any] = {
    "phase": "Running",
    "phaseStartedAt": "2026-11-21T12:00:01Z",
    "agents": [{"name": "agent", "epoch": 1, "podName": "p1", "podUID": "p1"}],
}


def show(house: House, *, phase: str = "Running", **spec: Any) -> None:
    """Let the cluster show the session otherwise; nothing waits until the gateway has seen it."""
    status = RUNNING if phase == "Running" else RUNNING | {"phase": phase, "phaseStartedAt": "2026-11-21T12:00:02Z"}
    house.cluster.put("agentsessions", "team", "s", spec={"goal": "say hello"} | spec, status=status)


async def level_of(house: House) -> Level:
    level = await house.store.level(UID)
    assert level is not None
    return level


async def a_slow_purchase(house: House, provider: Provider, model: str, **more: Any) -> "asyncio.Task[httpx2.Response]":
    """Ask for an answer that does not end, and wait until some of it has come."""
    asking = asyncio.create_task(house.ask(model, **more))
    await provider.wait_for_request()
    purchases = house.gateway.proxy.purchases
    if model.startswith("hanging"):
        await until(lambda: any(part.received_bytes >= 6 for one in purchases.under_way for part in one.tries))
    assert (await level_of(house)).open_calls == 1
    return asking


@pytest.mark.requirement("LIFE-5")
@pytest.mark.parametrize(
    ("shown", "code"),
    [
        pytest.param({"operatingMode": "Cancelled"}, "session_cancelled", id="a person cancels"),
        pytest.param({"phase": "Cancelling"}, "session_cancelled", id="it is being cancelled"),
        pytest.param({"phase": "Cancelled"}, "session_cancelled", id="it is cancelled"),
        pytest.param({"phase": "Failed"}, "session_finished", id="it failed, of its time limit for example"),
        pytest.param({"phase": "Expired"}, "session_finished", id="it expired"),
        pytest.param(None, "session_finished", id="it is deleted"),
    ],
)
async def test_a_session_that_is_over_breaks_off_its_purchase(
    house: House, provider: Provider, shown: dict[str, str] | None, code: str
) -> None:
    asking = await a_slow_purchase(house, provider, "hanging")
    if shown is None:
        house.cluster.remove("agentsessions", "team", "s")
    else:
        show(house, **shown)

    async with asyncio.timeout(SOON_SECONDS):
        await provider.wait_until_left()
        assert error_of(await asking) == (412, code)
    charged = await level_of(house)
    # The prompt by estimate, and half of what came: "onetwo" or a little more, of at most 15 bytes.
    assert (charged.steps, charged.open_calls, charged.cost_micro_usd) == (1, 0, 0)
    assert charged.input_tokens > 20
    assert 3 <= charged.output_tokens <= 8
    ended = ["done"] if shown is not None and shown.get("phase") in {"Cancelled", "Failed", "Expired"} else []
    async with asyncio.timeout(SOON_SECONDS):
        while (types := await house.types()) != ["step_start", "error", *ended]:
            assert types == ["step_start", "error"]
            await asyncio.sleep(0.005)

    await provider.release()
    refused = await house.ask(messages=[{"role": "user", "content": "another"}])
    assert error_of(refused) == (412, code)
    after = await level_of(house)
    assert (after.steps, after.input_tokens, after.output_tokens) == (1, charged.input_tokens, charged.output_tokens)
    assert len(await provider.asked()) == 1
    assert await house.store.verify(UID) == []


async def test_a_session_that_waits_for_its_deletion_is_over(house: House, provider: Provider) -> None:
    asking = await a_slow_purchase(house, provider, "hanging")
    view = house.gateway.session(UID)
    assert view is not None
    metadata = {
        "namespace": "team",
        "name": "s",
        "uid": UID,
        "generation": 1,
        "creationTimestamp": "2026-11-21T12:00:00Z",
        "deletionTimestamp": datetime.now(UTC).isoformat(),
        "resourceVersion": str(int(view.resource_version) + 1),
    }
    house.cluster.put("agentsessions", "team", "s", metadata=metadata, spec={"goal": "say hello"}, status=RUNNING)

    assert error_of(await asking) == (412, "session_finished")


async def test_a_purchase_that_is_broken_off_costs_what_the_provider_reported(house: House, provider: Provider) -> None:
    await put_priced_provider(house, "hanging-usage")
    asking = await a_slow_purchase(house, provider, "hanging-usage", stream=True)
    show(house, operatingMode="Cancelled")

    response = await asking

    assert '"code":"session_cancelled"' in response.text  # headers were sent: the error is an event
    assert "[DONE]" not in response.text
    level = await level_of(house)
    assert (level.input_tokens, level.output_tokens, level.cost_micro_usd) == (50, 5, 50 * 2 + 5 * 10)


async def test_a_purchase_without_a_first_byte_is_broken_off_too(house: House, provider: Provider) -> None:
    asking = await a_slow_purchase(house, provider, "slow")
    show(house, operatingMode="Cancelled")

    async with asyncio.timeout(SOON_SECONDS):
        await provider.wait_until_left()
        assert error_of(await asking) == (412, "session_cancelled")
    level = await level_of(house)
    assert (level.steps, level.output_tokens, level.open_calls) == (1, 0, 0)


async def test_a_try_that_the_provider_refused_costs_nothing_when_the_next_is_broken_off(
    house: House, provider: Provider
) -> None:
    asking = await a_slow_purchase(house, provider, "hanging-flaky")
    show(house, operatingMode="Cancelled")

    assert error_of(await asking) == (412, "session_cancelled")
    assert len(await provider.asked()) == 2
    level = await level_of(house)
    assert level.steps == 1
    assert level.input_tokens < 60  # one prompt of less than a hundred bytes, not two


async def test_a_cancel_before_the_provider_was_asked_costs_nothing(house: House, provider: Provider) -> None:
    house.cluster.may_read_secrets.clear()
    asking = asyncio.create_task(house.ask())
    await until(lambda: house.cluster.secret_reads == 1)  # reserved, and about to buy
    assert (await level_of(house)).open_calls == 1
    show(house, operatingMode="Cancelled")

    assert error_of(await asking) == (412, "session_cancelled")
    house.cluster.may_read_secrets.set()
    level = await level_of(house)
    assert (level.steps, level.input_tokens, level.open_calls) == (0, 0, 0)
    assert await provider.asked() == []


@pytest.mark.requirement("LIFE-5")
async def test_all_who_wait_for_a_purchase_hear_that_it_was_broken_off(house: House, provider: Provider) -> None:
    await play(house)
    first = await a_slow_purchase(house, provider, "slow")
    joined = await an_asking_pod(house, "p1")
    await house.put_session(pod="p2", epoch=2)
    next_epoch = await an_asking_pod(house, "p2")
    agents = [{"name": "agent", "epoch": 2, "podName": "p2", "podUID": "p2"}]
    spec = {"goal": "say hello", "operatingMode": "Cancelled"}
    house.cluster.put("agentsessions", "team", "s", spec=spec, status=RUNNING | {"agents": agents})

    async with asyncio.timeout(SOON_SECONDS):
        assert error_of(await first) == (412, "session_cancelled")
        for waiting in (joined, next_epoch):
            with pytest.raises(ProblemError, match="412 session_cancelled"):
                await waiting
    level = await level_of(house)
    assert (level.steps, level.open_calls) == (1, 0)
    assert len(await provider.asked()) == 1


async def an_asking_pod(house: House, pod_uid: str) -> "asyncio.Task[dict[str, Any]]":
    """Ask as a pod does whose request was let in, and wait until it waits."""
    proxy = house.gateway.proxy
    pod, provider = await house.store.identify_pod(pod_uid), proxy.directory.find("team", "default")
    assert pod is not None
    assert provider is not None
    request = read_request(json.dumps({"model": "slow", "messages": MESSAGES}).encode())
    wanted = Wanted(pod, request, provider, find_model(provider.spec, "slow"))

    async def ask() -> dict[str, Any]:
        return await (await proxy.purchases.ask(wanted)).answer()

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)  # from its first wait on it is one of those who wait
    return asking


async def test_purchases_of_other_sessions_go_on(house: House, provider: Provider) -> None:
    await house.put_session(pod="p2", name="other")
    mine = await a_slow_purchase(house, provider, "slow")
    other = asyncio.create_task(house.ask("slow", pod="p2"))
    await until(lambda: len(house.gateway.proxy.purchases.under_way) == 2)
    show(house, operatingMode="Cancelled")
    assert error_of(await mine) == (412, "session_cancelled")

    await provider.release()
    assert said(await other) == "atlast"


@pytest.mark.requirement("LIFE-4")
async def test_a_pause_lets_a_purchase_under_way_end(house: House, provider: Provider) -> None:
    asking = await a_slow_purchase(house, provider, "hanging")
    show(house, phase="Paused", operatingMode="Paused", pausePolicy={"boundary": "Immediate"})
    await until(lambda: (view := house.gateway.session(UID)) is not None and view.status.phase == "Paused")
    await provider.release()

    assert said(await asking) == "onetwothreefour"
    level = await level_of(house)
    assert (level.steps, level.input_tokens, level.output_tokens) == (1, 50, 5)
    assert await house.types() == ["step_start", "output", "step_complete"]


POD = PodIdentity("s1", "team", "s", "agent", 1, "p1", is_current=True)
OVER = ProblemError(RefusalCode.SESSION_CANCELLED, "Session team/s is cancelled.")
ANSWER = Answer("hello", (), "stop", None, 0)


async def test_a_purchase_that_was_told_to_stop_before_it_began_buys_nothing() -> None:
    purchase, bought = Purchase(POD), []
    purchase.break_off(OVER)

    async def buy() -> Answer:
        bought.append(1)
        return ANSWER

    with pytest.raises(BrokenOff):
        await purchase.buy(buy)
    assert bought == []


async def test_an_answer_that_is_complete_when_the_stop_comes_is_kept() -> None:
    purchase = Purchase(POD)

    async def buy() -> Answer:
        purchase.break_off(OVER)
        purchase.break_off(OVER)
        return ANSWER

    assert await purchase.buy(buy) is ANSWER
    purchase.break_off(OVER)  # too late for anything


async def test_an_answer_that_is_not_complete_when_the_stop_comes_is_not_waited_for() -> None:
    purchase = Purchase(POD)

    async def buy() -> Answer:
        purchase.break_off(OVER)
        await asyncio.Event().wait()
        return ANSWER

    with pytest.raises(BrokenOff) as broken_off:
        await purchase.buy(buy)
    assert broken_off.value.problem is OVER


# --- Cost, through the whole gateway.


async def put_priced_provider(house: House, *models: str, script: list[dict[str, Any]] | None = None) -> None:
    """Show a provider whose models cost 2 and 10 micro-USD a token."""
    known = house.gateway.proxy.directory.find("team", "default")
    assert known is not None
    prices = {"inputMicroUSDPerMillion": 2_000_000, "outputMicroUSDPerMillion": 10_000_000}
    entries = [{"name": model, "prices": prices} for model in models]
    if script is None:
        await house.put_provider(known.spec.to_json() | {"models": entries})
    else:
        await house.put_provider({"type": "Scripted", "models": entries, "script": {"rules": script}})


@pytest.mark.requirement("LIM-1")
@pytest.mark.requirement("LIM-3")
async def test_a_scripted_model_with_prices_costs_what_its_script_says(house: House) -> None:
    await put_priced_provider(
        house, "small", script=[{"answer": {"text": "done", "inputTokens": 1234, "outputTokens": 56}}]
    )
    await house.put_session(limits={"maxCostMicroUSD": 3100})

    said(await house.ask("small"))
    assert (await level_of(house)).cost_micro_usd == 1234 * 2 + 56 * 10
    refused = await house.ask("small", messages=[*MESSAGES, {"role": "user", "content": "again, please " * 20}])

    assert error_of(refused) == (402, "cost_limit")
    assert refused.headers["x-should-retry"] == "false"
    level = await level_of(house)
    assert (level.limit_reached, level.cost_micro_usd) == ("cost", 3028)


@pytest.mark.requirement("LIM-1")
async def test_an_answer_that_the_cost_limit_cut_is_no_result(house: House, provider: Provider) -> None:
    await put_priced_provider(house, "length")
    await house.put_session(limits={"maxCostMicroUSD": 5000})

    assert error_of(await house.ask("length")) == (402, "cost_limit")
    (asked,) = await provider.asked()
    assert 256 <= asked["body"]["max_tokens"] < 500
    assert "output" not in await house.types()


async def test_a_model_without_prices_is_refused_to_a_session_with_a_cost_limit(
    house: House, provider: Provider
) -> None:
    await house.put_session(limits={"maxCostMicroUSD": 5000})

    refused = await house.ask()
    assert error_of(refused) == (403, "model_error")
    assert "has no prices" in refused.json()["detail"]
    assert await provider.asked() == []

    await put_priced_provider(house, "good")
    assert said(await house.ask()) == "hellothere"
