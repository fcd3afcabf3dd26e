"""Any life of a session on a real API server keeps its promises, and comes to rest."""

import os
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.integration.controller_cluster import NAME, own_cluster
from tests.integration.faults_stage import Theatre, open_theatre
from tests.integration.lives import play

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800), pytest.mark.asyncio(loop_scope="module")]

SEED = os.environ.get("AGENTSESSIONS_LIFE_SEED") or secrets.token_hex(4)
"""Of the long run: another one each time."""


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with own_cluster(NAME) as kubeconfig:
        yield kubeconfig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def theatre(kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Theatre]:
    async with open_theatre(kubeconfig, tmp_path_factory.mktemp("lives")) as theatre:
        yield theatre


async def live(theatre: Theatre, seed: str, events: int) -> None:
    """Play one life after another until there were so many events."""
    left, number = events, 0
    while left > 0:
        number += 1
        left -= await play(theatre, f"{seed}/{number}", left)


@pytest.mark.requirement("LIFE-11")
async def test_some_lives_keep_every_promise_on_a_real_api_server(theatre: Theatre) -> None:
    await live(theatre, "early", 30)


@pytest.mark.slow
@pytest.mark.requirement("LIFE-11")
@pytest.mark.requirement("LIFE-12")
async def test_many_lives_keep_every_promise_on_a_real_api_server(theatre: Theatre) -> None:
    await live(theatre, SEED, 300)
