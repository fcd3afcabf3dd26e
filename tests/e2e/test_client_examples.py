"""The examples of docs/python.md, run one after the other as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from agentsessions.client import AsyncClient, Client
from tests.e2e.commandline import ACCOUNT, a_place
from tests.e2e.product import ROOT, Product

pytestmark = [pytest.mark.e2e, pytest.mark.requirement("STEP-2"), pytest.mark.requirement("CONV-3")]

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def address(product: Product) -> Iterator[dict[str, Any]]:
    """Return what a client is made of, in a namespace of its own."""
    with a_place(product) as place, product.gateway() as forward:
        token = product.token_of(place.namespace, ACCOUNT)
        url = f"https://localhost:{forward.port}"
        yield {"url": url, "token": token, "namespace": place.namespace, "ca": product.trust()}


def test_examples_of_the_page_run(address: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    known: dict[str, Any] = {}
    with Client(**address) as client:
        known["client"] = client
        for number, block in enumerate(BLOCKS[1:], 2):  # the first one makes the client
            exec(compile(block, f"docs/python.md, block {number}", "exec"), known)  # noqa: S102  # our own page
    said = capsys.readouterr().out
    assert said.startswith("completed Hello!")
    assert "404 not_found" in said


async def test_asynchronous_client_does_the_same(address: dict[str, Any]) -> None:
    async with AsyncClient(**address) as client:
        result = await client.execute("Say hello.", timeout=300)
        assert result.is_success
        assert [event.seq async for event in client.stream(result.session.uid)] == list(
            range(1, result.session.head + 1)
        )
        talk = client.conversation()
        assert (await talk.send("Hello")).output
        await talk.close()
        session = await client.wait(str(talk.session), timeout=120)
        assert session.phase == "Completed"
