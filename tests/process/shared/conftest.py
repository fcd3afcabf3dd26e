"""Two gateways' stores over one PostgreSQL database."""

from collections.abc import AsyncIterator, Iterator

import pytest

from agentsessions.journal.store import Store
from tests.postgres import Databases


@pytest.fixture
def name(databases: Databases) -> Iterator[str]:
    """Name of an empty journal of the test's own."""
    with databases.create() as name:
        yield name


@pytest.fixture
async def stores(databases: Databases, name: str) -> AsyncIterator[tuple[Store, Store]]:
    one = await Store.open(databases.server.url(name), instance="one")
    two = await Store.open(databases.server.url(name), instance="two")
    await one.recover()
    await two.recover()
    yield one, two
    await one.close()
    await two.close()
