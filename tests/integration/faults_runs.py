"""Runs of a story, one fault each, and what must be the same at their end."""

import asyncio
import re
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from agentsessions.engine.resources import EVENT
from hack.faults.faultproxy.faults import Answer, Fault, Kill, Lose, OldLists
from tests.integration.controller_cluster import PATIENCE_SECONDS, Json
from tests.integration.faults_stage import SESSION, Stage, Theatre, open_stage
from tests.integration.faults_stories import FIRST, STORIES

AT_ONCE: Final = 4
"""Runs side by side, where no run ends the operator that the others need."""
CHANGES_MORE: Final = 3
"""What one fault may cost: the change again, and where the fault is told, a status write and an Event."""
WAITS_TOLD: Final = 1
"""On a busy machine a run may need one status write more than the undisturbed one, of what a pod waits for."""
OWN_TO_A_RUN: Final = re.compile(
    r"\d{4}-\d\d-\d\dT[\d:.]+Z"  # times
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # uids
    rf"|{SESSION}-[0-9a-f]{{8}}"  # names of pods without their epoch
)
STATUS_WRITE: Final = "patch agentsessions/status"
COUNTED_IN_SECONDS: Final = ("activeSeconds",)


@dataclass(frozen=True)
class Ending:
    """What a run left."""

    epoch: int
    status: Any
    """Without what is a run's own: times, uids, the epoch."""
    changes: tuple[str, ...]
    """What the operator changed or tried to, in order."""
    watched: int
    """Events that the operator's watches brought about the namespace."""
    pods_at_once: int
    left: tuple[str, ...]
    """Pods that the status does not name; without the session, everything that belonged to it (I4)."""
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
                last = final.get("status", {}).get("phase", "Starting")
                await stage.namespace.wait(EVENT, lambda raw: bool(raw["reason"] == last))
                self.undisturbed[story] = await read_ending(stage)
        return self.undisturbed[story]

    async def disturb(self, story: str, fault: Fault, positions: Iterable[int]) -> list[str]:
        """Run the story once for each position, with the fault there; return what was not as it should be."""
        want = await self.baseline(story)
        gate = asyncio.Semaphore(1 if isinstance(fault, Kill | OldLists) else AT_ONCE)
        problems: list[str] = []
        async with AsyncExitStack() as stages:
            played = [(at, await stages.enter_async_context(open_stage(self.theatre, fault, at))) for at in positions]

            async def play(at: int, stage: Stage) -> None:
                async with gate:
                    try:
                        await self._play(story, stage, at)
                    except (AssertionError, TimeoutError) as error:
                        problems.append(f"{place(story, want, fault, at)}: {error!r}")

            await asyncio.gather(*(play(at, stage) for at, stage in played))
            # The operator has looked at every session again before it is through with a new one.
            await STORIES[FIRST](await stages.enter_async_context(open_stage(self.theatre)))
            for at, stage in played:
                found = await read_ending(stage)
                problems += [f"{place(story, want, fault, at)}: {line}" for line in compare(found, want, fault, at)]
        return problems

    async def positions(self, story: str, fault: Fault) -> list[int]:
        """Return the changes, or for a watch the events, of a story's own: the rest it has from another one."""
        want = await self.baseline(story)
        if isinstance(fault, Lose):
            return list(range(1, want.watched + 1))
        before = len((await self.baseline("pause")).changes) if story == "resume" else begin_of(story, want.changes)
        return list(range(before + 1, len(want.changes) + 1))

    async def _play(self, story: str, stage: Stage, at: int) -> None:
        assert stage.armed is not None
        await STORIES[story](stage)
        if not isinstance(stage.armed.rule.fault, Lose):  # fewer events may come than in the undisturbed run
            try:
                await asyncio.wait_for(stage.armed.fired.wait(), PATIENCE_SECONDS)
            except TimeoutError:
                if len(stage.calls) >= at:  # else the undisturbed run had one change more: see WAITS_TOLD
                    raise
        await self.theatre.operator.until_acting()


async def read_ending(stage: Stage) -> Ending:
    """Return what is there now."""
    session = await stage.find_session()
    status = session.get("status", {})
    events = [e["reason"] for e in await stage.namespace.list(EVENT) if e["regarding"]["kind"] == "AgentSession"]
    return Ending(
        epoch=status["agents"][0]["epoch"] if status else 0,
        status=strip(status),
        changes=tuple(str(record.call) for record in stage.calls),
        watched=stage.watched,
        left=tuple(await (stage.left_pods() if session else stage.left_objects())),
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
    if is_lie_about_pod(fault, want.changes[at - 1 : at]):
        epochs.add(want.epoch + 1)  # a name that is said to be taken costs an epoch
    if found.epoch not in epochs:
        problems.append(f"epoch is {found.epoch}, undisturbed {want.epoch}")
    if found.pods_at_once != 1:
        problems.append(f"I3: {found.pods_at_once} pods at once")
    if found.left != want.left:
        problems.append(f"left behind: {found.left}")
    # Old lists are each next start's too, and show the sessions of all positions as they were.
    strikes = len(want.changes) if isinstance(fault, OldLists) else 1
    if len(found.changes) > len(want.changes) + CHANGES_MORE * strikes + WAITS_TOLD:
        problems.append(f"{len(found.changes)} changes, undisturbed {len(want.changes)}: {found.changes}")
    if len(set(found.events)) != len(found.events) and len(set(want.events)) == len(want.events):
        problems.append(f"an Event came twice: {found.events}")
    return problems


def is_lie_about_pod(fault: Fault, change: tuple[str, ...]) -> bool:
    """Tell whether the fault says that a pod exists which does not."""
    return isinstance(fault, Answer) and fault.status == 409 and fault.reason == "" and change == ("create pods",)


def begin_of(story: str, changes: tuple[str, ...]) -> int:
    """Return how many changes a story has in common with the first: those up to the Event that says Running."""
    if story in {FIRST, "delete"}:
        return 0
    writes = [at for at, change in enumerate(changes, 1) if change == STATUS_WRITE]
    return writes[1] + 1


def sample(changes: tuple[str, ...], positions: list[int]) -> list[int]:
    """Return the positions that count most: what changes pods or status, and the very first change of all."""
    kept = {"create pods", "delete pods", STATUS_WRITE}
    return [at for at in positions if at == 1 or changes[at - 1] in kept]


def place(story: str, want: Ending, fault: Fault, at: int) -> str:
    """Say where a fault struck."""
    if isinstance(fault, Lose):
        return f"{story}, event {at} of {want.watched}"
    return f"{story}, change {at} of {len(want.changes)} ({want.changes[at - 1]})"
