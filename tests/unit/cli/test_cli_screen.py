"""The full screen of `top`, driven without a terminal."""

from __future__ import annotations

import asyncio

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from agentsessions.cli.live import Frame, Meter
from agentsessions.cli.screen import Top
from tests.unit.cli.test_cli_words import item


class Looks:
    """What is seen, one after the other; the last one for ever."""

    def __init__(self, *frames: Frame | Exception) -> None:
        self._left = list(frames)
        self.count = 0

    def __call__(self) -> Frame:
        self.count += 1
        found = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        if isinstance(found, Exception):
            raise found
        return found


async def headline(pilot: Pilot[None], text: str) -> str:
    """Wait until the headline has a text."""
    async with asyncio.timeout(20):
        while text not in (shown := str(pilot.app.query_one("#headline", Static).render())):
            await pilot.pause(0.01)
    return shown


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_screen_shows_sessions_and_leaves_on_a_key(key: str) -> None:
    frame = Meter().look([item(100), item(7, "[red]Queued", "q")], now=1.0)
    app = Top(Looks(frame), 60, frame)
    async with app.run_test() as pilot:
        assert "1 active" in await headline(pilot, "tokens/s")
        table = app.query_one(DataTable)
        assert [str(table.get_row_at(row)[1]) for row in range(2)] == ["Running", "[red]Queued"]
        await pilot.press(key)
    assert app.return_code == 0


async def test_screen_bears_a_gateway_that_is_away() -> None:
    nothing = Meter().look([], now=1.0)
    app = Top(Looks(RuntimeError("the gateway [does] not answer"), nothing), 0.1, nothing)
    async with app.run_test() as pilot:
        await headline(pilot, "no look: the gateway [does] not answer")
        assert "0 active" in await headline(pilot, "tokens/s")
