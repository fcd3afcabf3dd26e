"""Short lives that together take every move of the table. Each leaves the world where its last move led."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.lifecycle.facts import Acceptance
from tests.scenario.world import World

HOLD: Final = "quota team holds this namespace"
OPEN: Final[Mapping[str, Any]] = {"conversation": {"open": True, "idleSeconds": 10}}


def go_on(world: World, stages: int = 1) -> World:
    """Let the operator look, pods take a step, and a second pass, so many times."""
    for _ in range(stages):
        world.operate()
        world.run_pods()
        world.live(1)
    return world


def new(**spec: Any) -> World:
    """Return a session that nobody has looked at."""
    return World(spec={"goal": "count", **spec})


def not_accepted(**spec: Any) -> World:
    """Return a session whose provider is missing."""
    world = new(**spec)
    world.acceptance = Acceptance(reason=Reason.PROVIDER_NOT_FOUND, message="there is no provider")
    world.operate()
    return world


def starting(**spec: Any) -> World:
    """Return a session whose pod is there and does not run yet."""
    world = new(**spec)
    world.operate()
    return world


def running(**spec: Any) -> World:
    """Return a session that has committed a turn and runs."""
    return go_on(new(**spec), 4)


def talking(**spec: Any) -> World:
    """Return a conversation in which nothing was said yet."""
    world = World(spec={**OPEN, **spec})
    world.operate()
    return world


def answered(**spec: Any) -> World:
    """Return a conversation that answered and fell idle."""
    world = talking(**spec)
    world.send()
    return go_on(world, 30)


def paused(**spec: Any) -> World:
    """Return a session that a person paused while it ran."""
    world = running(**spec)
    world.ask(OperatingMode.PAUSED)
    return go_on(world, 4)


def queued(**spec: Any) -> World:
    """Return a session that finds no room."""
    world = new(**spec)
    world.set_room(has_room=False)
    world.operate()
    return world


def pausing(**spec: Any) -> World:
    """Return a session whose pod was not yet told to pause."""
    world = running(**spec)
    world.ask(OperatingMode.PAUSED)
    world.operate()
    return world


def waiting(**spec: Any) -> World:
    """Return a session with a call that nobody decided yet."""
    world = running(**spec)
    world.ask_people()
    return go_on(world, 5)


def hanging(**spec: Any) -> World:
    """Return a session with a call that nobody decided yet, and a pod that does not end."""
    world = running(**spec)
    world.ask_people()
    world.set_hanging(hang=True)
    return go_on(world, 5)


def then(world: World, *acts: Callable[[World], object]) -> World:
    """Let things happen one after the other, and the operator look at the end."""
    for act in acts:
        act(world)
    world.operate()
    return world


def pause(world: World) -> None:
    """Let a person pause it."""
    world.ask(OperatingMode.PAUSED)


def resume(world: World) -> None:
    """Let a person resume it."""
    world.ask(OperatingMode.RUNNING)


def cancel(world: World) -> None:
    """Let a person cancel it."""
    world.ask(OperatingMode.CANCELLED)


def fill_quota(world: World) -> None:
    """Let others take all room."""
    world.set_room(has_room=False)


def make_room(world: World) -> None:
    """Let there be room again."""
    world.set_room(has_room=True)


def unseen(stages: int) -> Callable[[World], object]:
    """Let pods go on while no operator looks: the middle states go unobserved."""

    def act(world: World) -> None:
        for _ in range(stages):
            world.run_pods()
            world.pass_time(1)
        world.is_dirty = True

    return act


def limit(**limits: Any) -> Callable[[World], object]:
    """Let a person change the limits."""
    return lambda world: world.change(limits=limits)


def wait(seconds: int) -> Callable[[World], object]:
    """Let time pass while the operator looks."""
    return lambda world: world.live(seconds)


P = Phase
STORIES: Final[Mapping[tuple[Phase, Phase], Callable[[], World]]] = {
    (P.PENDING, P.QUEUED): queued,
    (P.PENDING, P.STARTING): starting,
    (P.PENDING, P.IDLE): talking,
    (P.PENDING, P.PAUSED): lambda: then(new(), pause),
    (P.PENDING, P.CANCELLED): lambda: then(new(), cancel),
    (P.PENDING, P.EXPIRED): lambda: then(not_accepted(expireAfterSeconds=60), wait(61)),
    (P.QUEUED, P.STARTING): lambda: then(queued(), make_room),
    (P.QUEUED, P.WAITING): lambda: then(waiting(), fill_quota, World.decide, World.operate, World.forget_decision),
    (P.QUEUED, P.PAUSED): lambda: then(queued(), pause),
    (P.QUEUED, P.CANCELLED): lambda: then(queued(), cancel),
    (P.QUEUED, P.EXPIRED): lambda: then(queued(expireAfterSeconds=60), wait(60)),
    (P.STARTING, P.RUNNING): lambda: go_on(starting()),
    (P.STARTING, P.IDLE): lambda: then(starting(**OPEN), unseen(30)),
    (P.STARTING, P.PAUSING): lambda: then(starting(), pause),
    (P.STARTING, P.PAUSED): lambda: then(starting(), World.lose_pods, pause),
    (P.STARTING, P.CANCELLING): lambda: then(starting(), cancel),
    (P.STARTING, P.CANCELLED): lambda: then(starting(), World.lose_pods, cancel),
    (P.STARTING, P.COMPLETED): lambda: then(starting(), unseen(12)),
    (P.STARTING, P.FAILED): lambda: then(starting(), wait(600)),
    (P.RUNNING, P.STARTING): lambda: then(running(), World.lose_pods),
    (P.RUNNING, P.IDLE): lambda: go_on(running(**OPEN), 30),
    (P.RUNNING, P.PAUSING): pausing,
    (P.RUNNING, P.PAUSED): lambda: then(running(), pause, unseen(3)),
    (P.RUNNING, P.CANCELLING): lambda: then(running(), cancel),
    (P.RUNNING, P.CANCELLED): lambda: then(running(), World.lose_pods, cancel),
    (P.RUNNING, P.COMPLETED): lambda: go_on(running(), 8),
    (P.RUNNING, P.FAILED): lambda: go_on(running(limits={"maxSteps": 2}), 8),
    (P.IDLE, P.QUEUED): lambda: then(answered(), fill_quota, World.send),
    (P.IDLE, P.STARTING): lambda: then(answered(), World.send),
    (P.IDLE, P.PAUSED): lambda: then(answered(), pause),
    (P.IDLE, P.CANCELLED): lambda: then(answered(), cancel),
    (P.IDLE, P.COMPLETED): lambda: then(answered(), lambda world: world.change(conversation={"open": False})),
    (P.IDLE, P.FAILED): lambda: then(answered(), limit(timeoutSeconds=1)),
    (P.IDLE, P.EXPIRED): lambda: then(answered(expireAfterSeconds=60), wait(60)),
    (P.PAUSING, P.PAUSED): paused,
    (P.PAUSING, P.STARTING): lambda: then(pausing(), resume, World.lose_pods),
    (P.PAUSING, P.WAITING): lambda: then(hanging(), pause, World.operate, resume, World.lose_pods),
    (P.PAUSING, P.CANCELLING): lambda: then(pausing(), cancel),
    (P.PAUSING, P.CANCELLED): lambda: then(pausing(), World.lose_pods, cancel),
    (P.PAUSING, P.COMPLETED): lambda: then(go_on(running(), 5), pause, World.operate, unseen(3)),
    (P.PAUSING, P.FAILED): lambda: then(pausing(), limit(timeoutSeconds=1)),
    (P.PAUSED, P.QUEUED): lambda: then(paused(), fill_quota, resume),
    (P.PAUSED, P.STARTING): lambda: then(paused(), resume),
    (P.PAUSED, P.IDLE): lambda: then(answered(), pause, World.operate, resume),
    (P.PAUSED, P.CANCELLED): lambda: then(paused(), cancel),
    (P.PAUSED, P.EXPIRED): lambda: go_on(
        new(limits={"maxSteps": 1, "onLimit": {"default": "Pause"}}, expireAfterSeconds=5), 20
    ),
    (P.STARTING, P.WAITING): lambda: then(starting(), World.ask_people, unseen(6)),
    (P.RUNNING, P.WAITING): waiting,
    (P.WAITING, P.QUEUED): lambda: then(waiting(), fill_quota, World.decide),
    (P.WAITING, P.STARTING): lambda: then(waiting(), World.decide),
    (P.WAITING, P.PAUSED): lambda: then(waiting(), pause),
    (P.WAITING, P.CANCELLED): lambda: then(waiting(), cancel),
    (P.WAITING, P.PAUSING): lambda: then(hanging(), pause),
    (P.WAITING, P.CANCELLING): lambda: then(hanging(), cancel),
    (P.WAITING, P.COMPLETED): lambda: then(
        waiting(limits={"onLimit": {"timeout": "Complete"}}),
        limit(timeoutSeconds=1, onLimit={"timeout": "Complete"}),
    ),
    (P.WAITING, P.FAILED): lambda: then(waiting(), limit(timeoutSeconds=1)),
    (P.WAITING, P.EXPIRED): lambda: then(waiting(expireAfterSeconds=60), wait(60)),
    (P.PAUSED, P.WAITING): lambda: then(waiting(), pause, World.operate, resume),
    (P.CANCELLING, P.CANCELLED): lambda: go_on(then(running(), cancel), 2),
}
"""A life for each move of the table; it ends with that move."""
