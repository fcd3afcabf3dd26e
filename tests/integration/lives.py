"""Lives of sessions in any order on a real API server: people, pods, messages, an operator that dies.

The test is kubelet and gateway: `tests/scenario/gateway.py` keeps the journal as it does for the pure core, pods take a
step when the life says so. Which events come follows from the seed alone; how they meet the operator does not.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import Any, Final

from agentsessions.api.reasons import ErrorCode, ExitCode, Phase
from agentsessions.api.v1alpha1.approval import ApprovalKind
from agentsessions.api.v1alpha1.session import OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.controller.kinds import AGENT_SESSIONS, MODEL_PROVIDERS, SESSION_APPROVALS
from agentsessions.controller.views import to_pod, to_session
from agentsessions.engine.errors import ApiError, Conflict, Invalid, NotFound
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import POD
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.limits import LIMIT_STOPS
from agentsessions.lifecycle.phases import TERMINAL, TRANSITIONS
from hack.faults.faultproxy.calls import MUTATING
from hack.faults.faultproxy.faults import Kill, When
from hack.faults.faultproxy.proxy import Armed
from hack.faults.faultproxy.rules import Match, Rule
from tests.integration.controller_cluster import PATIENCE_SECONDS, Json
from tests.integration.faults_stage import SESSION, Stage, Theatre, open_stage
from tests.invariants import check_deadline, check_limits, check_settled
from tests.scenario.gateway import Gateway
from tests.scenario.promises import check_journal

QUICK: Final[Json] = {"maxRetries": 2, "initialBackoffSeconds": 1, "maxBackoffSeconds": 1}
KINDS: Final[dict[str, Json]] = {
    "a goal": {"goal": "count"},
    "a goal beyond its steps": {"goal": "count", "limits": {"maxSteps": 2}},
    "a goal whose steps may be raised": {"goal": "count", "limits": {"maxSteps": 2, "onLimit": {"default": "Pause"}}},
    "a hard stop": {
        "goal": "count",
        "shutdown": {"gracePeriodSeconds": 0},
        "pausePolicy": {"boundary": "Immediate"},
    },
    "a conversation": {"conversation": {"open": True, "idleSeconds": 0}},
    "a conversation with a goal": {"goal": "count", "conversation": {"open": True, "idleSeconds": 1}},
}
EVENTS_IN_A_LIFE: Final = (8, 20)
TURNS: Final = 8
"""Turns that a goal takes: long enough to meet something."""
YOUNG: Final = 5
"""Events of a life before which nothing ends it for good."""
MOMENT_SECONDS: Final = 0.3
"""Time that the operator is given when a life says that time passes, and between two steps of pods."""
SETTLED: Final = frozenset({Phase.PAUSED, Phase.IDLE, Phase.WAITING, *TERMINAL})


@dataclass
class Life:
    """One session, and what acts on it."""

    stage: Stage
    kind: str
    gateway: Gateway
    random: Random
    view: SessionView | None = None
    """As the watch last showed it; None when it is gone."""
    problems: list[str] = field(default_factory=list)
    """What was seen that must never be."""
    told: list[str] = field(default_factory=list)
    """The events so far."""
    armed: list[Armed] = field(default_factory=list)
    pod_of: dict[int, str] = field(default_factory=dict)
    most_steps: int = 0
    """The highest limit that there was: people may set a lower one than what is used."""
    is_deleted: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)

    # --- what its watch tells
    def note(self, old: SessionView | None, new: SessionView | None) -> None:
        """Take a change of the session over, as the gateway does, and compare it with what was."""
        self.view = new
        self.news.set()
        if new is None:
            return
        if old is not None:
            self._compare(old.status, new.status)
        if new.status.effective and new.status.effective.max_steps:
            self.most_steps = max(self.most_steps, new.status.effective.max_steps)
        for row in new.status.agents or []:
            if row.pod_uid is not None and self.pod_of.setdefault(row.epoch, row.pod_uid) != row.pod_uid:
                self.problems.append(f"I2: epoch {row.epoch} has two pods")
            if row.epoch < max(self.pod_of, default=0):
                self.problems.append(f"I2: epoch {row.epoch} came after {max(self.pod_of)}")
        self.gateway.see(new.spec, new.status)
        self.tell_level()

    def _compare(self, old: SessionStatus, new: SessionStatus) -> None:
        before, after = old.phase or Phase.PENDING, new.phase or Phase.PENDING
        if after is not before and after not in TRANSITIONS[before]:
            self.problems.append(f"I8: {before} was followed by {after}")
        if before in TERMINAL and (old.stop_reason, old.result) != (new.stop_reason, new.result):
            self.problems.append(f"I8: a session that ended with {old.stop_reason} became one of {new.stop_reason}")

    def tell_level(self) -> None:
        """Let the operator hear what the journal holds."""
        if self.view is not None:
            who = {"session_uid": self.view.uid, "namespace": self.view.namespace, "name": self.view.name}
            self.stage.theatre.journal.say(self.gateway.level().model_copy(update=who))

    async def moment(self) -> None:
        """Let a little time pass, or something happen to the session."""
        self.news.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.news.wait(), MOMENT_SECONDS)

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.is_deleted or (self.view is not None and self.view.status.phase in TERMINAL)

    # --- people
    async def ask(self, mode: OperatingMode) -> None:
        """Set operatingMode."""
        await self.change(operatingMode=mode.value)

    async def change(self, **fields: Any) -> None:
        """Change the spec, as far as the API server lets it."""
        with suppress(Invalid, NotFound):
            await self.stage.namespace.patch_session(**fields)

    async def send(self) -> None:
        """Send a message."""
        self.gateway.now = datetime.now(UTC)
        if not self.is_deleted and self.gateway.send():
            self.tell_level()

    async def ask_people(self) -> None:
        """Let the next turn have a call that people must decide, and pods go on to it."""
        self.gateway.asks.append((self.random.choice([*ApprovalKind]), None, None))
        await self.go_on(self.random.randint(2, 4))

    async def decide(self) -> None:
        """Let people decide the call that waits."""
        self.gateway.decide()
        self.tell_level()

    async def delete(self) -> None:
        """Delete the session."""
        self.is_deleted = True
        await self.stage.theatre.client.delete(AGENT_SESSIONS, self.stage.namespace.name, SESSION)

    # --- pods
    async def go_on(self, stages: int) -> None:
        """Let pods take some steps."""
        for _ in range(stages):
            await self.run_pods()
            await self.moment()

    async def run_pods(self) -> None:
        """Let each pod start, or take a step of its loop."""
        for raw in await self.agent_pods():
            phase = raw["status"]["phase"]
            if "deletionTimestamp" in raw["metadata"] or "nodeName" not in raw["spec"]:
                continue
            if phase == "Pending":
                await self._obey(self.stage.theatre.kubelet.start(raw))
            elif phase == "Running":
                await self._play(raw)

    async def _play(self, raw: Json) -> None:
        pod = to_pod(raw)
        assert pod is not None
        self.gateway.now = datetime.now(UTC)
        code = self.gateway.play(pod)
        self.tell_level()
        if code is not None:
            await self._obey(self.stage.theatre.kubelet.end(raw, int(code)))

    async def fail(self, code: ErrorCode | None) -> None:
        """Let pods go on, and those that run end by an error; without a code they die before they can say so."""
        await self.go_on(self.random.randint(1, 3))
        for raw in await self.agent_pods():
            pod = to_pod(raw)
            if pod is None or pod.phase != "Running" or pod.is_deleting:
                continue
            if code is not None:
                self.gateway.fail(pod, code)
                self.tell_level()
            await self._obey(self.stage.theatre.kubelet.end(raw, 137 if code is None else int(ExitCode.ERROR)))

    async def lose(self) -> None:
        """Take the pods away, and let the next go on."""
        where = self.stage.namespace.name
        for raw in await self.agent_pods():
            name, uid = raw["metadata"]["name"], raw["metadata"]["uid"]
            await self._obey(self.stage.theatre.client.delete(POD, where, name, uid=uid, grace_seconds=0))
        await self.go_on(self.random.randint(1, 3))

    async def agent_pods(self) -> list[Json]:
        """Return the session's pods."""
        return [raw for raw in await self.stage.namespace.list(POD) if to_pod(raw) is not None]

    @staticmethod
    async def _obey(act: Awaitable[None]) -> None:
        with suppress(NotFound, Conflict):  # it went meanwhile
            await act

    # --- the operator
    async def kill_operator(self, when: When, at: int) -> None:
        """Let the operator die before or after one of its next changes here."""
        match = Match(MUTATING, namespace=self.stage.namespace.name)
        self.armed.append(self.stage.theatre.operator.proxy.arm(Rule(Kill(when), at=at, match=match)))

    async def end_faults(self) -> None:
        """Let the operator live."""
        for armed in self.armed:
            self.stage.theatre.operator.proxy.disarm(armed)
        self.armed.clear()
        await self.stage.theatre.operator.until_acting()


Event = Callable[[Life], Awaitable[None]]
EVENTS: Final[dict[str, tuple[int, Event]]] = {
    "pods go on": (10, lambda life: life.go_on(life.random.randint(1, 5))),
    "time passes": (1, lambda life: life.moment()),
    "a person pauses": (3, lambda life: life.ask(OperatingMode.PAUSED)),
    "a person resumes": (5, lambda life: life.ask(OperatingMode.RUNNING)),
    "a person sends a message": (3, lambda life: life.send()),
    "a call needs a person": (2, lambda life: life.ask_people()),
    "people decide": (2, lambda life: life.decide()),
    "a person changes the limit": (2, lambda life: life.change(limits={"maxSteps": life.random.choice([2, 6, 20])})),
    "a person renames it": (1, lambda life: life.change(title=f"title {life.random.randint(1, 9)}")),
    "pods go on and fail": (
        3,
        lambda life: life.fail(life.random.choice([ErrorCode.OVERLOADED, ErrorCode.NETWORK, None])),
    ),
    "pods are lost and go on": (2, lambda life: life.lose()),
    "the operator dies": (2, lambda life: life.kill_operator(life.random.choice([*When]), life.random.randint(1, 3))),
}
LATE_EVENTS: Final[dict[str, tuple[int, Event]]] = {
    "a person cancels": (1, lambda life: life.ask(OperatingMode.CANCELLED)),
    "a person closes the conversation": (1, lambda life: life.change(conversation={"open": False})),
    "a person deletes it": (1, lambda life: life.delete()),
}


async def play(theatre: Theatre, seed: str, most: int) -> int:
    """Play a life of at most so many events to its rest; return how many there were.

    Raises:
        AssertionError: A promise was broken; the text names the seed and the events.
    """
    random = Random(seed)  # noqa: S311 - a life that can be played again
    kind = random.choice(sorted(KINDS))
    spec = {"retry": QUICK, **KINDS[kind]}
    async with open_stage(theatre) as stage:
        await stage.namespace.create_provider()
        await stage.namespace.wait(MODEL_PROVIDERS, lambda raw: bool(raw.get("status")))
        gateway = Gateway(SessionSpec.model_validate(spec), SessionStatus(), datetime.now(UTC), TURNS)
        life = Life(stage, kind, gateway, random)
        watching = asyncio.create_task(_watch(life).run())
        try:
            await stage.namespace.create(AGENT_SESSIONS, SESSION, spec=spec)
            await _live(life, min(random.randint(*EVENTS_IN_A_LIFE), most))
            await life.end_faults()
            problems = [*await _settle(life), *life.problems]
        except (ApiError, AssertionError, TimeoutError) as error:
            problems = [repr(error)]
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await life.end_faults()
    assert not problems, f"{problems} in life {seed!r}, {kind}, after {life.told}"
    return len(life.told)


def _watch(life: Life) -> Informer[SessionView]:
    return Informer(
        life.stage.theatre.client,
        AGENT_SESSIONS,
        convert=lambda raw: to_session(raw).view,
        key_of=lambda view: view.uid,
        on_change=life.note,
        namespace=life.stage.namespace.name,
    )


async def _live(life: Life, most: int) -> None:
    while len(life.told) < most and not life.is_over:
        events = EVENTS if len(life.told) < YOUNG else EVENTS | LATE_EVENTS
        (word,) = life.random.choices(list(events), [weight for weight, _ in events.values()])
        life.told.append(word)
        await events[word][1](life)


async def _settle(life: Life) -> list[str]:
    """Let pods go on until the session is where people want it; return what is then not as it should be."""
    reasons = ["nothing was seen of it"]
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while reasons := await _unrest(life):
                await life.go_on(1)
    if reasons:
        shown = (await life.stage.find_session()).get("status")
        return [f"I7: no rest after {PATIENCE_SECONDS:.0f} s: {reasons}; status {shown}"]
    return await (_check_gone(life) if life.is_deleted else _check(life))


async def _unrest(life: Life) -> list[str]:
    """Return why the session cannot stay as it is; the watch may not have shown yet how it is."""
    session = await life.stage.find_session()
    view = to_session(session).view if session else None
    pods = [raw for raw in await life.agent_pods() if raw["status"]["phase"] in {"Pending", "Running"}]
    if life.is_deleted:
        return ["it is there"] if view is not None else [f"pod {raw['metadata']['name']}" for raw in pods]
    if view is None:
        return ["it is not there"]
    status, mode = view.status, view.spec.operating_mode
    may = {OperatingMode.PAUSED: {Phase.PAUSED, *TERMINAL}, OperatingMode.CANCELLED: TERMINAL}.get(mode, SETTLED)
    is_wanted = mode is OperatingMode.PAUSED or status.stop_reason in LIMIT_STOPS
    found = {
        f"{status.phase} is no rest": status.phase not in may,
        "its spec was not seen": status.observed_generation != view.generation,
        f"pods {[raw['metadata']['name'] for raw in pods]}": bool(pods),
        "nobody wants it to pause": status.phase is Phase.PAUSED and not is_wanted,
        "the limit is raised": status.phase is Phase.PAUSED and mode is OperatingMode.RUNNING and _is_free(life),
        "the wrong questions are asked": await _open_questions(life) != _waiting(life),
        "nobody is asked": status.phase is Phase.WAITING and not life.gateway.level().approval_pending,
        "messages wait": status.phase is Phase.IDLE and bool(life.gateway.inbox),
    }
    return [word for word, holds in found.items() if holds]


async def _open_questions(life: Life) -> int:
    """Return how many objects ask people for a decision."""
    asked = await life.stage.namespace.list(SESSION_APPROVALS)
    return sum("outcome" not in raw.get("status", {}) for raw in asked)


def _waiting(life: Life) -> int:
    """Return how many calls wait for people: of a session that is over none."""
    return 0 if life.is_over else len(life.gateway.level().approval_pending)


def _is_free(life: Life) -> bool:
    """Tell whether no limit keeps the session from going on."""
    return life.gateway.limit_reached is None


async def _check(life: Life) -> list[str]:
    """Return the broken invariants of a session at rest."""
    session = await life.stage.namespace.get(AGENT_SESSIONS, SESSION)
    pods = _as_objects(await life.agent_pods())
    status = SessionStatus.model_validate(session["status"])
    problems = [*check_settled(session, pods), *check_deadline(session, datetime.now(UTC))]
    limits = session["status"].get("effective", {}) | {"maxSteps": life.most_steps}
    problems += check_limits(session["status"] | {"effective": limits})
    if (most := await life.stage.pods_at_once()) > 1:
        problems.append(f"I3: {most} pods at once")
    check_journal(life.gateway, status.stop_reason)
    steps = status.usage.steps if status.usage else 0
    if steps > life.gateway.steps or (status.phase is Phase.COMPLETED and steps != life.gateway.steps):
        problems.append(f"I10: {status.phase} after {steps} steps, the journal has {life.gateway.steps}")
    return problems


async def _check_gone(life: Life) -> list[str]:
    """Return what is left of a session that was deleted."""
    problems = [f"I4: {left} is left" for left in await life.stage.left_objects()]
    if (most := await life.stage.pods_at_once()) > 1:
        problems.append(f"I3: {most} pods at once")
    return problems


def _as_objects(pods: Iterable[Json]) -> list[Any]:
    """Return pods as the checker reads them."""
    return [
        SimpleNamespace(
            metadata=SimpleNamespace(
                name=raw["metadata"]["name"], deletion_timestamp=raw["metadata"].get("deletionTimestamp")
            ),
            status=SimpleNamespace(phase=raw["status"]["phase"]),
        )
        for raw in pods
    ]
