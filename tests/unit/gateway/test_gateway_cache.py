import asyncio

import pytest

from agentsessions.gateway.cache import ExpiringCache


class Source:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.now = 0.0

    async def __call__(self) -> int:
        self.asked += 1
        await self.may_answer.wait()
        return self.asked


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def cache(source: Source) -> ExpiringCache[str, int]:
    return ExpiringCache(lambda _value: 10.0, max_entries=2, clock=lambda: source.now)


async def test_a_value_is_loaded_once_while_it_holds(cache: ExpiringCache[str, int], source: Source) -> None:
    first = await cache.get("key", source)
    source.now = 9.9
    assert await cache.get("key", source) == first
    source.now = 10.0
    assert await cache.get("key", source) == first + 1


async def test_callers_at_the_same_time_share_one_load(cache: ExpiringCache[str, int], source: Source) -> None:
    assert await asyncio.gather(*(cache.get("key", source) for _ in range(5))) == [1] * 5


async def test_a_caller_that_leaves_does_not_fail_the_others(cache: ExpiringCache[str, int], source: Source) -> None:
    source.may_answer.clear()
    leaving, staying = (asyncio.create_task(cache.get("key", source)) for _ in range(2))
    await asyncio.wait([leaving], timeout=0.01)
    leaving.cancel()
    source.may_answer.set()
    assert await staying == 1
    assert leaving.cancelled() or leaving.cancelling()


async def test_a_failed_load_is_told_and_not_remembered(cache: ExpiringCache[str, int], source: Source) -> None:
    async def fail() -> int:
        raise ConnectionError("away")

    with pytest.raises(ConnectionError):
        await cache.get("key", fail)
    assert await cache.get("key", source) == 1


async def test_the_oldest_entry_goes_when_there_are_too_many(cache: ExpiringCache[str, int], source: Source) -> None:
    for key in ("a", "b", "c"):
        await cache.get(key, source)
    assert await cache.get("c", source) == 3
    assert await cache.get("a", source) == 4
