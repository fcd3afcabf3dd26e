"""Runs of a story, one fault each, and what must be the same at their end."""

import asyncio
import re
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from agentsessions.controller.kinds import AGENT_SESSIONS
from agentsessions.engine.resources import EVENT
from hack.faults.faultproxy.faults import Answer, Fault, Kill
from tests.integration.controller_cluster import PATIENCE_SECONDS, Json
from tests.integration.faults_stage import SESSION, Stage, Theatre, open_stage
from tests.integration.faults_stories import STORIES

AT_ONCE: Final = 4
"""Runs side by side, where no run ends the operator that the others need."""
CHANGES_MORE: Final = 3
"""What one fault may cost: the change again, and where the fault is told, a status write and an Event."""
OWN_TO_A_RUN: Final = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z"  # times
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # uids
    rf"|{SESSION}-[0-9a-f]{{8}}"  # names of pods without their epoch
)
COUNTED_IN_SECONDS: Final = ("activeSeconds",)


@dataclass(frozen=True)
class Ending:
    """What a run left."""

    epoch: int
    status: Any
    """Without what is a run's own: times, uids, the epoch."""
    changes: tuple[str, ...]
    """What the operator changed or tried to, in order."""
    pods_at_once: int
    left_pods: tuple[str, ...]
    """That the status does not name."""
    events: tuple[str, ...]
    """Reasons of the Events about the session, sorted."""


@dataclass
class Runs:
    """Runs a story undisturbed once, and disturbed as often as asked."""

    theatre: Theatre
    undisturbed: dict[str, Ending]

    async def baseline(self, story: str) -> Ending:
        """Return how the story ends when nothing goes wrong."""
        if story not in self.undisturbed:
            async with open_stage(self.theatre) as stage:
                final = await STORIES[story](stage)
                last = final["status"]["phase"]
                await stage.namespace.wait(EVENT, lambda raw: bool(raw["reason"] == last))
                self.undisturbed[story] = await read_ending(stage)
        return self.undisturbed[story]

    async def disturb(self, story: str, fault: Fault, positions: Iterable[int]) -> list[str]:
        """Run the story once for each position, with the fault there; return what was not as it should be."""
        want = await self.baseline(story)
        gate = asyncio.Semaphore(1 if isinstance(fault, Kill) else AT_ONCE)
        problems: list[str] = []
        async with AsyncExitStack() as stages:
            played = [(at, await stages.enter_async_context(open_stage(self.theatre, fault, at))) for at in positions]

            async def play(at: int, stage: Stage) -> None:
                async with gate:
                    try:
                        await self._play(story, stage)
                    except (AssertionError, TimeoutError) as error:
                        problems.append(f"{_place(story, want, at)}: {error!r}")

            await asyncio.gather(*(play(at, stage) for at, stage in played))
            # The operator has looked at every session again before it is through with a new one.
            await STORIES["complete"](await stages.enter_async_context(open_stage(self.theatre)))
            for at, stage in played:
                found = await read_ending(stage)
                problems += [f"{_place(story, want, at)}: {line}" for line in compare(found, want, fault, at)]
        return problems

    async def _play(self, story: str, stage: Stage) -> None:
        assert stage.armed is not None
        await STORIES[story](stage)
        await asyncio.wait_for(stage.armed.fired.wait(), PATIENCE_SECONDS)
        await self.theatre.operator.until_acting()


async def read_ending(stage: Stage) -> Ending:
    """Return what is there now."""
    session = await stage.namespace.get(AGENT_SESSIONS, SESSION)
    events = [e["reason"] for e in await stage.namespace.list(EVENT) if e["regarding"]["kind"] == "AgentSession"]
    return Ending(
        epoch=session["status"]["agents"][0]["epoch"],
        status=strip(session["status"]),
        changes=tuple(str(record.call) for record in stage.calls),
        left_pods=tuple(await stage.left_pods()),
        pods_at_once=await stage.pods_at_once(),
        events=tuple(sorted(events)),
    )


def strip(status: Json) -> Any:
    """Return a status without what differs between two runs of one story."""
    match status:
        case dict():
            return {key: strip(value) for key, value in status.items() if key not in {"epoch", *COUNTED_IN_SECONDS}}
        case list():
            return [strip(value) for value in status]
        case str():
            text = OWN_TO_A_RUN.sub("…", status)
            return re.sub(r"(…-|epoch )\d+", r"\1n", text)
        case _:
            return status


def compare(found: Ending, want: Ending, fault: Fault, at: int) -> list[str]:
    """Return what a disturbed run has that the undisturbed one has not."""
    problems = [
        f"{key} is {found.status.get(key)}, undisturbed {want.status.get(key)}"
        for key in sorted({*found.status, *want.status})
        if found.status.get(key) != want.status.get(key)
    ]
    epochs = {want.epoch}
    if is_lie_about_pod(fault, want.changes[at - 1]):
        epochs.add(want.epoch + 1)  # a name that is said to be taken costs an epoch
    if found.epoch not in epochs:
        problems.append(f"epoch is {found.epoch}, undisturbed {want.epoch}")
    if found.pods_at_once != 1:
        problems.append(f"I3: {found.pods_at_once} pods at once")
    if found.left_pods != want.left_pods:
        problems.append(f"pods left: {found.left_pods}")
    if len(found.changes) > len(want.changes) + CHANGES_MORE:
        problems.append(f"{len(found.changes)} changes, undisturbed {len(want.changes)}: {found.changes}")
    if len(set(found.events)) != len(found.events) and len(set(want.events)) == len(want.events):
        problems.append(f"an Event came twice: {found.events}")
    return problems


def is_lie_about_pod(fault: Fault, change: str) -> bool:
    """Tell whether the fault says that a pod exists which does not."""
    return isinstance(fault, Answer) and fault.status == 409 and fault.reason == "" and change == "create pods"


def sample(changes: tuple[str, ...], *, is_first_story: bool) -> list[int]:
    """Return the positions that count most: what changes pods or status, and for one story the very first.

    Other stories begin like the first one, so theirs start behind the status write that says Running.
    """
    kept = {"create pods", "delete pods", "patch agentsessions/status"}
    positions = [at for at, change in enumerate(changes, 1) if change in kept]
    if is_first_story:
        return [1, *positions]
    writes = [at for at in positions if changes[at - 1] == "patch agentsessions/status"]
    return [at for at in positions if at > writes[1]]


def _place(story: str, want: Ending, at: int) -> str:
    return f"{story}, change {at} of {len(want.changes)} ({want.changes[at - 1]})"
