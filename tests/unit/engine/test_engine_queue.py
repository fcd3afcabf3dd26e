"""The rules at the top of the queue's module, one by one. Time is the test's."""

import asyncio

import pytest

from agentsessions.engine.queue import KeyedQueue


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> KeyedQueue:
    return KeyedQueue(clock=clock)


async def is_idle(queue: KeyedQueue) -> bool:
    """Tell whether no key can be taken now."""
    taken = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    is_waiting = not taken.done()
    taken.cancel()
    await asyncio.gather(taken, return_exceptions=True)
    return is_waiting


async def test_get_gives_keys_in_the_order_they_came_each_once(queue: KeyedQueue) -> None:
    for key in ("a", "b", "a", "c"):
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
    assert await is_idle(queue)


async def test_a_key_in_work_is_given_to_nobody_else_and_comes_back_after(queue: KeyedQueue) -> None:
    queue.add("a")
    key = await queue.get()
    queue.add("a")
    queue.add("a")
    assert await is_idle(queue)
    queue.done(key)
    assert await queue.get() == "a"
    queue.done("a")
    assert await is_idle(queue)


async def test_a_wakeup_that_comes_due_in_work_brings_the_key_back_after(queue: KeyedQueue, clock: Clock) -> None:
    queue.add("a")
    await queue.get()
    queue.add_after("a", 5)
    clock.now += 6
    assert await is_idle(queue)
    queue.done("a")
    assert await queue.get() == "a"


async def test_the_earliest_of_several_wakeups_holds(queue: KeyedQueue, clock: Clock) -> None:
    for seconds in (20, 5, 10):
        queue.add_at("a", clock.now + seconds)
    assert await is_idle(queue)
    clock.now += 5
    assert await queue.get() == "a"
    queue.done("a")
    clock.now += 100
    assert await is_idle(queue)


async def test_a_key_that_is_taken_loses_its_wakeup(queue: KeyedQueue, clock: Clock) -> None:
    queue.add_after("a", 5)
    queue.add("a")
    queue.done(await queue.get())
    clock.now += 10
    assert await is_idle(queue)


async def test_a_delay_that_is_over_means_now(queue: KeyedQueue) -> None:
    queue.add_after("a", -3)
    assert await queue.get() == "a"


async def test_a_delay_given_as_an_instant_is_refused_with_the_remedy(queue: KeyedQueue) -> None:
    with pytest.raises(ValueError, match="add_after"):
        queue.add_at("a", 2.5)


async def test_a_done_without_a_get_is_an_error(queue: KeyedQueue) -> None:
    with pytest.raises(KeyError):
        queue.done("a")


async def test_the_age_is_that_of_the_key_that_waits_longest(queue: KeyedQueue, clock: Clock) -> None:
    assert queue.oldest_age == 0
    queue.add_after("late", 2)
    queue.add("a")
    clock.now += 3
    assert (queue.oldest_age, len(queue)) == (3, 2)
    await queue.get()
    assert queue.oldest_age == 1  # since its wake-up, not since somebody looked
    queue.add("a")
    await queue.get()
    clock.now += 4
    assert (queue.oldest_age, len(queue)) == (4, 1)  # waits for its own worker


async def test_voided_wakeups_do_not_pile_up(queue: KeyedQueue) -> None:
    for _ in range(5000):
        queue.add_after("a", 3600)
        queue.add("a")
        queue.done(await queue.get())
    assert len(queue._heap) < 200  # noqa: SLF001 - memory is what is promised here


async def test_a_wakeup_rouses_a_worker_that_waits() -> None:
    queue = KeyedQueue()  # the real clock: this is about the timer
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("late", 3600)
    queue.add_after("soon", 0.01)
    async with asyncio.timeout(5):
        assert await waiting == "soon"


async def test_a_worker_that_is_cancelled_when_told_of_a_key_passes_it_on(queue: KeyedQueue) -> None:
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    async with asyncio.timeout(5):
        assert await second == "a"
    assert first.cancelled()


async def test_a_key_added_right_after_a_cancel_reaches_the_next_worker(queue: KeyedQueue) -> None:
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    first.cancel()
    queue.add("a")
    async with asyncio.timeout(5):
        assert await second == "a"
    await asyncio.gather(first, return_exceptions=True)


class Work:
    """A handler that the test watches and holds."""

    def __init__(self, expected: int) -> None:
        self.seen: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.together: set[str] = set()
        self.is_complete = asyncio.Event()
        self._expected = expected

    async def __call__(self, key: str) -> None:
        assert key not in self.together
        self.together.add(key)
        self.most_at_once = max(self.most_at_once, len(self.together))
        for _ in range(3):
            await asyncio.sleep(0)
        self.together.discard(key)
        self.seen.append(key)
        if len(self.seen) == self._expected:
            self.is_complete.set()


async def run_until(queue: KeyedQueue, handler: Work, workers: int) -> None:
    working = asyncio.create_task(queue.work(handler, workers))
    async with asyncio.timeout(5):
        await handler.is_complete.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working


async def test_work_uses_all_workers_and_no_more(queue: KeyedQueue) -> None:
    work = Work(expected=40)
    for number in range(40):
        queue.add(str(number))
    await run_until(queue, work, workers=4)
    assert work.most_at_once == 4
    assert sorted(work.seen, key=int) == [str(number) for number in range(40)]


async def test_work_goes_on_after_a_handler_raised(clock: Clock) -> None:
    failed: list[tuple[str, str]] = []
    queue = KeyedQueue(clock=clock, on_error=lambda key, error: failed.append((key, str(error))))
    work = Work(expected=2)

    async def fail_for_bad(key: str) -> None:
        if key == "bad":
            raise RuntimeError("no")
        if key == "cancelled":
            raise asyncio.CancelledError
        await work(key)

    for key in ("bad", "cancelled", "a", "b"):
        queue.add(key)
    working = asyncio.create_task(queue.work(fail_for_bad, workers=1))
    async with asyncio.timeout(5):
        await work.is_complete.wait()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert work.seen == ["a", "b"]
    assert [key for key, _ in failed] == ["bad", "cancelled"]
    queue.add("bad")
    assert await queue.get() == "bad"  # given back, although it failed


async def test_work_that_is_cancelled_gives_back_its_keys(queue: KeyedQueue) -> None:
    has_begun = asyncio.Event()

    async def hang(_key: str) -> None:
        has_begun.set()
        await asyncio.Event().wait()

    queue.add("a")
    working = asyncio.create_task(queue.work(hang, workers=2))
    await has_begun.wait()
    queue.add("a")
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    assert await queue.get() == "a"


async def test_a_handler_that_never_waits_lets_others_run(queue: KeyedQueue) -> None:
    async def add_again(key: str) -> None:
        queue.add(key)

    queue.add("a")
    working = asyncio.create_task(queue.work(add_again, workers=1))
    async with asyncio.timeout(5):
        for _ in range(10):
            await asyncio.sleep(0)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
