"""The operator dies at any of its changes, or is refused there: the session ends the same, with one pod at a time."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from agentsessions.controller.kinds import AGENT_SESSIONS, MODEL_PROVIDERS
from hack.faults.faultproxy.faults import Answer, Cut, Delay, Exchange, Fault, Kill, Lose, OldLists, When
from hack.faults.faultproxy.rules import Match, Rule
from tests.integration.controller_cluster import FAULTS_NAME, open_client, own_cluster
from tests.integration.faults_page import Page
from tests.integration.faults_runs import Runs, compare, read_ending, sample
from tests.integration.faults_stage import open_stage, open_theatre, records_of
from tests.integration.faults_stories import FIRST, STORIES, finish, lose_first_pod

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
]

KILLS: Final = {"killed before": Kill(When.BEFORE), "killed after": Kill(When.AFTER)}
FAULTS: Final[dict[str, Fault]] = {
    **KILLS,
    "409": Answer(409),
    "409 Conflict": Answer(409, "Conflict"),
    "429": Answer(429, retry_after=1),
    "500": Answer(500),
    "504, done": Answer(504, when=When.AFTER),
    "cut, done": Cut(When.AFTER),
    "delayed": Delay(2),
    "killed after, old lists": OldLists(),
    "watch lost, 410": Lose(),
}


OFTEN: Final = (FIRST, "lose pod")
"""Stories that are struck at every change of ours; the others with the whole matrix."""
TOLD: Final = tuple(story if story in OFTEN else pytest.param(story, marks=pytest.mark.slow) for story in STORIES)
KILLED: Final = (
    (FIRST, "killed before"),
    *(pytest.param(s, "killed after", marks=() if s in OFTEN else pytest.mark.slow) for s in STORIES),
)
OVERTAKEN: Final = "overtaken by another operator"


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    with own_cluster(FAULTS_NAME) as kubeconfig:
        yield kubeconfig


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def runs(kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runs]:
    async with open_theatre(kubeconfig, tmp_path_factory.mktemp("theatre")) as theatre:
        yield Runs(theatre, {})


@pytest.fixture(scope="module")
def page(runs: Runs) -> Iterator[Page]:
    """Collect figures; written where $AGENTSESSIONS_FAULTS_PAGE says, once the matrix is whole."""
    page = Page(tuple(STORIES), tuple(FAULTS), began=time.monotonic())
    yield page
    if (target := os.environ.get("AGENTSESSIONS_FAULTS_PAGE")) and page.is_whole:
        changes = {story: runs.undisturbed[story].changes for story in STORIES}
        Path(target).write_text(page.render(changes, runs.theatre.operator.start_seconds))


@pytest.mark.parametrize("story", TOLD)
async def test_an_undisturbed_story_has_one_pod_and_leaves_no_other(runs: Runs, story: str) -> None:
    ending = await runs.baseline(story)
    assert (ending.pods_at_once, ending.left) == (1, ())
    assert len(ending.changes) <= 24


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize(("story", "kill"), KILLED)
async def test_an_operator_killed_at_a_change_of_pods_or_status_comes_to_the_same_end(
    runs: Runs, story: str, kill: str
) -> None:
    positions = sample((await runs.baseline(story)).changes, await runs.positions(story, KILLS[kill]))
    assert await runs.disturb(story, KILLS[kill], positions) == []


@pytest.mark.slow
@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("story", STORIES)
async def test_one_fault_at_any_change_comes_to_the_same_end(runs: Runs, page: Page, story: str, fault: str) -> None:
    positions = await runs.positions(story, FAULTS[fault])
    problems = await runs.disturb(story, FAULTS[fault], positions)
    page.add(story, fault, tried=len(positions), problems=problems)
    assert problems == []


class Hold:
    """The call waits until it is let go, then goes on: what a slow operator is to a fast one."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.let_go = asyncio.Event()

    async def play(self, exchange: Exchange) -> Any:
        """Wait, then forward."""
        self.reached.set()
        await self.let_go.wait()
        return await exchange.forward()


async def race(runs: Runs, hold: Hold, at: int) -> list[str]:
    """Hold the first operator at a change until a second one has brought the story to its end; return what is wrong."""
    want = await runs.baseline(FIRST)
    async with open_stage(runs.theatre, hold, at) as stage:
        story = asyncio.create_task(STORIES[FIRST](stage))
        await hold.reached.wait()
        async with runs.theatre.second_operator() as second:
            await story
            took_part = bool(records_of(second.proxy, stage.namespace.name))
        hold.let_go.set()
        assert stage.armed is not None
        await stage.armed.fired.wait()
        async with open_stage(runs.theatre) as after:
            await STORIES[FIRST](after)  # by then the first has looked again at what it was held at
        problems = compare(await read_ending(stage), want, hold, at)
        return problems if took_part else [*problems, "the second operator did nothing"]


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize("story", TOLD)
async def test_two_operators_that_both_believe_to_lead_make_one_pod_and_come_to_the_same_end(
    runs: Runs, story: str
) -> None:
    want = await runs.baseline(story)
    async with runs.theatre.second_operator() as second, open_stage(runs.theatre) as stage:
        await STORIES[story](stage)
        async with open_stage(runs.theatre) as after:
            await STORIES[FIRST](after)
        found = await read_ending(stage)
        others = records_of(second.proxy, stage.namespace.name)
    assert compare(found, want, Hold(), 1) == []
    assert len(found.changes) + len(others) <= 2 * len(want.changes)


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize("change", ["create pods", "patch agentsessions/status"])
async def test_a_second_operator_that_overtakes_the_first_makes_no_second_pod(runs: Runs, change: str) -> None:
    changes = (await runs.baseline(FIRST)).changes
    assert await race(runs, Hold(), changes.index(change) + 1) == []


@pytest.mark.requirement("LIFE-11")
async def test_a_pod_that_a_late_operator_makes_for_an_epoch_long_over_is_ended(runs: Runs) -> None:
    want, hold = await runs.baseline("lose pod"), Hold()
    async with open_stage(runs.theatre, hold, want.changes.index("create pods") + 1) as stage:
        beginning = asyncio.create_task(lose_first_pod(stage))
        await hold.reached.wait()
        async with runs.theatre.second_operator():
            session, pod = await beginning
        hold.let_go.set()
        await stage.until_deleted("1", times=2)  # the lost one, and the late one
        await finish(stage, session, pod)
        assert await stage.left_pods() == []


@pytest.mark.requirement("LIFE-11")
async def test_an_operator_that_starts_on_a_list_older_than_the_session_makes_no_pod_for_it(runs: Runs) -> None:
    want, hold, operator = await runs.baseline("lose pod"), Hold(), runs.theatre.operator
    at = want.changes.index("create pods") + 1
    async with open_stage(runs.theatre, hold, at) as stage:
        story = asyncio.create_task(STORIES["lose pod"](stage))
        await hold.reached.wait()
        async with open_client(str(operator.kubeconfig)) as beside:  # the proxy remembers these lists for the operator
            await beside.list_all(MODEL_PROVIDERS, lambda raw: raw)
            listed = await beside.list_all(AGENT_SESSIONS, lambda raw: raw)
        here = [raw for raw in listed.items if raw["metadata"]["namespace"] == stage.namespace.name]
        assert ["status" in raw for raw in here] == [False]
        hold.let_go.set()
        await story
        operator.proxy.lists.repeat()
        # The first list is what decisions are made from, the second one begins the stream.
        late = operator.proxy.arm(Rule(Delay(2), at=2, match=Match(frozenset({"list"}), resource="agentsessions")))
        await operator.proxy.kill()
        await operator.until_acting()
        async with open_stage(runs.theatre) as after:
            await STORIES[FIRST](after)  # by then it has looked at all that it listed
        operator.proxy.disarm(late)
        assert compare(await read_ending(stage), want, OldLists(), at) == []


@pytest.mark.slow
@pytest.mark.requirement("LIFE-11")
async def test_a_second_operator_may_overtake_the_first_at_any_change(runs: Runs, page: Page) -> None:
    positions = range(1, len((await runs.baseline(FIRST)).changes))  # after the last there is nothing left to do
    problems = [f"change {at}: {line}" for at in positions for line in await race(runs, Hold(), at)]
    page.add(FIRST, OVERTAKEN, tried=len(positions), problems=problems)
    assert problems == []
