"""The text of an answer under way, as viewers see it before it is written."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.process.proxy.house import House, Provider, until

UID = "uid-team-s"


async def events(house: House) -> AsyncIterator[dict[str, Any]]:
    """Follow the session as a person does."""
    async with (
        house.person() as client,
        client.stream("GET", f"/api/v1/agent-sessions/{UID}/events") as response,
    ):
        event = ""
        async for line in response.aiter_lines():
            field, _, value = line.partition(": ")
            event = value if field == "event" else event
            if field == "data":
                yield {"event": event, **json.loads(value)}


@pytest.mark.requirement("STEP-2")
async def test_a_viewer_reads_an_answer_while_it_comes_and_then_as_an_entry(house: House, provider: Provider) -> None:
    following = events(house)
    told = [await anext(following)]
    await until(lambda: house.gateway.tails.is_watched(UID))
    asking = asyncio.create_task(house.ask("hanging"))
    text = ""
    while not text.startswith("onetwo"):
        event = await anext(following)
        told.append(event)
        if event["event"] == "delta":
            assert (event["agent"], event["step"], event["attempt"], event["offset"]) == ("agent", 1, 1, len(text))
            text += event["text"]
    before = [entry.type.value for entry in await house.store.entries(UID)]
    await provider.release()
    assert (await asking).status_code == 200
    while told[-1]["event"] != "output":
        told.append(await anext(following))
    await following.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert "output" not in before
    assert told[-1]["body"]["text"] == "onetwothreefour"
    assert "delta" not in {entry.type.value for entry in await house.store.entries(UID)}


async def test_text_that_nobody_watches_costs_nothing(house: House) -> None:
    assert (await house.ask("good")).status_code == 200
    assert not house.gateway.tails.is_watched(UID)
