"""A store on a real file for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentsessions.journal.store import Store
from tests.unit.journal.builders import Clock, url_of


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    store = await Store.open(url_of(tmp_path), clock=clock)
    yield store
    await store.close()
