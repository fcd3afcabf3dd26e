"""A store on a database of its own for each test: `--journal` says on which kind."""

from collections.abc import AsyncIterator

import pytest

from agentsessions.journal.store import Store
from tests.journal.builders import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(journal_url: str, clock: Clock) -> AsyncIterator[Store]:
    store = await Store.open(journal_url, clock=clock)
    yield store
    await store.close()
