"""A stage for sessions whose operator is disturbed: it acts through a proxy, and comes back when it was killed."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from agentsessions.api import names
from agentsessions.api.levels import Closing, Level, LevelLine
from agentsessions.api.v1alpha1.approval import ApprovalRequest
from agentsessions.api.wire import Outcome
from agentsessions.children.owner import owner_uid
from agentsessions.controller.kinds import AGENT_SESSIONS, SESSION_APPROVALS
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import load_access
from agentsessions.engine.errors import AlreadyExists
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, POD
from hack.faults.faultproxy.calls import EVENT, MUTATING
from hack.faults.faultproxy.faults import Fault, Lose
from hack.faults.faultproxy.kubeconfig import write_kubeconfig
from hack.faults.faultproxy.proxy import Armed, Proxy, Record
from hack.faults.faultproxy.rules import Match, Rule
from tests.integration.controller_cluster import (
    INSTALL_NAMESPACE,
    PATIENCE_SECONDS,
    Json,
    Kubelet,
    Namespace,
    OperatorProcess,
    fresh_namespace,
    open_client,
)
from tests.unit.controller.level_server import LevelServer

SESSION = "rows"
MARKER = "marker"


class Journal(LevelServer):
    """Says to each operator that connects what the journal holds, as the gateway does."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: set[asyncio.Queue[LevelLine | None]] = set()

    def say(self, *levels: Level, synced: bool = False) -> None:
        """Send levels to all that are connected; who comes later hears them first."""
        assert not synced, "each stream says so by itself"
        for level in levels:
            self.stored[level.session_uid] = level
            for stream in self._streams:
                stream.put_nowait(LevelLine(level=level))

    def break_stream(self) -> None:
        """End all streams."""
        for stream in self._streams:
            stream.put_nowait(None)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        lines: asyncio.Queue[LevelLine | None] = asyncio.Queue()
        for level in self.stored.values():
            lines.put_nowait(LevelLine(level=level))
        lines.put_nowait(LevelLine(synced=True))
        self._streams.add(lines)
        self.tokens.append("")  # `serve` ends as many streams as there were
        answer = web.StreamResponse()
        try:
            await answer.prepare(request)
            while (line := await lines.get()) is not None:
                await answer.write(line.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n")
        except ConnectionError:
            pass  # the operator was killed
        finally:
            self._streams.discard(lines)
        return answer


class Operator:
    """One operator behind a proxy of its own, started again whenever the proxy kills it."""

    def __init__(self, proxy: Proxy, process: OperatorProcess, kubeconfig: Path) -> None:
        self.proxy = proxy
        self.kubeconfig = kubeconfig
        """By which it reaches the proxy."""
        self.process = process
        self.start_seconds: list[float] = []
        self._restart: asyncio.Task[None] | None = None
        proxy.kill = self._kill

    async def start(self) -> None:
        """Start it, and wait until it acts."""
        began = time.monotonic()
        await self.process.start()
        self.start_seconds.append(time.monotonic() - began)

    async def until_acting(self) -> None:
        """Wait until it is back from a kill, if there was one."""
        if self._restart is not None:
            await self._restart
            self._restart = None

    async def _kill(self) -> None:
        # Tasks of their own: the proxy drops what it does for a caller that is gone, this too.
        dying = asyncio.create_task(self.process.stop(by=signal.SIGKILL))
        self._restart = asyncio.create_task(self._come_back(dying))
        await asyncio.shield(dying)

    async def _come_back(self, dying: "asyncio.Task[int]") -> None:
        await dying
        await self.start()


@dataclass
class Theatre:
    """What all runs share: the cluster, a kubelet and a journal that obey, and the operator."""

    kubeconfig: str
    folder: Path
    client: Client
    kubelet: Kubelet
    journal: Journal
    operator: Operator

    @asynccontextmanager
    async def second_operator(self) -> AsyncIterator[Operator]:
        """Run another operator beside the first."""
        folder = self.folder / "second"
        folder.mkdir(exist_ok=True)
        async with open_operator(self.kubeconfig, self.journal.url, folder) as second:
            yield second


class PodHistory:
    """What became of a namespace's pods, noted as it happens: the API server forgets what is a minute old."""

    def __init__(self) -> None:
        self.most_at_once = 0
        """The most pods without deletionTimestamp that there ever were."""
        self.deleted: Counter[str] = Counter()
        """How many are gone, by epoch."""
        self.names: set[str] = set()
        """Of all that there ever were."""
        self._alive: set[str] = set()
        self._changed = asyncio.Event()

    def note(self, old: Json | None, new: Json | None) -> None:
        """Take note of a change; `new` is none when the pod is gone."""
        meta = (new or old or {})["metadata"]
        self.names.add(meta["name"])
        if new is None:
            self.deleted[meta.get("labels", {}).get(names.LABEL_EPOCH, "")] += 1
        if meta["name"] != MARKER:
            is_alive = new is not None and "deletionTimestamp" not in meta
            (self._alive.add if is_alive else self._alive.discard)(meta["uid"])
        self.most_at_once = max(self.most_at_once, len(self._alive))
        self._changed.set()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds of what is noted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def noted_pods(client: Client, namespace: str) -> AsyncIterator[PodHistory]:
    """Note what becomes of the pods of a namespace while the block runs."""
    history = PodHistory()
    informer = Informer(
        client,
        POD,
        convert=lambda raw: raw,
        key_of=lambda pod: pod["metadata"]["uid"],
        on_change=history.note,
        namespace=namespace,
    )
    noting = asyncio.create_task(informer.run())
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await informer.is_synced.wait()
        yield history
    finally:
        noting.cancel()
        await asyncio.gather(noting, return_exceptions=True)


@dataclass
class Stage:
    """One session's life in a namespace of its own."""

    theatre: Theatre
    namespace: Namespace
    pods: PodHistory
    armed: Armed | None = None

    @property
    def calls(self) -> list[Record]:
        """What the first operator changed here, or tried to."""
        return records_of(self.theatre.operator.proxy, self.namespace.name)

    @property
    def watched(self) -> int:
        """How many events about this namespace the first operator's watches brought."""
        return sum(event.namespace == self.namespace.name for event in self.theatre.operator.proxy.events)

    async def find_session(self) -> Json:
        """Return the session; empty when it is deleted."""
        found = [raw for raw in await self.namespace.list(AGENT_SESSIONS) if raw["metadata"]["name"] == SESSION]
        return found[0] if found else {}

    async def wait_session(self, phase: str, *, beside: str = "") -> Json:
        """Return the session once it is in `phase` with a pod of another uid than `beside`."""

        def is_due(raw: Json) -> bool:
            status = raw.get("status", {})
            return status.get("phase") == phase and (not beside or _pod_uid(status) != beside)

        return await self.namespace.wait(AGENT_SESSIONS, is_due)

    async def wait_pod(self, *, beside: str = "") -> Json:
        """Return the pod that a Starting session names, once it is on the node."""
        uid = _pod_uid((await self.wait_session("Starting", beside=beside))["status"])
        return await self.namespace.wait(POD, lambda raw: raw["metadata"]["uid"] == uid and "nodeName" in raw["spec"])

    def tell(
        self,
        session: Json,
        closed_by: Json | None = None,
        outcome: Outcome = Outcome.FINAL,
        pending: Sequence[ApprovalRequest] = (),
    ) -> None:
        """Let the journal hold two turns; how a pod closed its epoch; and which calls wait for people."""
        meta = session["metadata"]
        level = Level(
            session_uid=meta["uid"],
            namespace=meta["namespace"],
            name=meta["name"],
            steps=2,
            input_tokens=100,
            output_tokens=20,
            turns=2,
            epoch_turns=2,
            head=9,
        )
        if closed_by is not None:
            pod = closed_by["metadata"]
            epoch = int(pod["labels"][names.LABEL_EPOCH])
            closing = Closing(agent="agent", epoch=epoch, pod_uid=pod["uid"], outcome=outcome)
            result = {"result": "42", "digest": "ab", "head": 10} if outcome is Outcome.FINAL else {}
            level = level.model_copy(update={"closing": closing, "approval_pending": list(pending), **result})
        self.theatre.journal.say(level)

    async def pods_at_once(self) -> int:
        """Return the most pods without deletionTimestamp that the agent ever had until now."""
        await self.theatre.client.create(POD, self.namespace.name, _marker())
        await self.pods.until(lambda: MARKER in self.pods.names)
        await self.theatre.client.delete(POD, self.namespace.name, MARKER, grace_seconds=0)
        return self.pods.most_at_once

    async def until_deleted(self, epoch: str, *, times: int) -> None:
        """Wait until so many pods of an epoch are gone."""
        await self.pods.until(lambda: self.pods.deleted[epoch] >= times)

    async def left_pods(self) -> list[str]:
        """Return the pods that the status does not name."""
        session = await self.namespace.get(AGENT_SESSIONS, SESSION)
        named = _pod_uid(session["status"])
        pods = await self.namespace.list(POD)
        return [pod["metadata"]["name"] for pod in pods if pod["metadata"]["uid"] != named]

    async def left_objects(self) -> list[str]:
        """Return what is left of a session that is gone, once the collector had its time."""
        await self.namespace.wait_gone(POD)
        kinds = (POD, CONFIG_MAP, PERSISTENT_VOLUME_CLAIM, SESSION_APPROVALS)
        found = [(kind.kind, raw["metadata"]) for kind in kinds for raw in await self.namespace.list(kind)]
        return [f"{kind} {meta['name']}" for kind, meta in found if owner_uid({"metadata": meta})]


@asynccontextmanager
async def open_theatre(kubeconfig: str, folder: Path) -> AsyncIterator[Theatre]:
    """Start what all runs share."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(open_client(kubeconfig))
        await _publish_ca(client)
        journal = Journal()
        await stack.enter_async_context(journal.serve())
        kubelet = Kubelet(client)
        await kubelet.join()
        node = asyncio.create_task(kubelet.run())
        operator = await stack.enter_async_context(open_operator(kubeconfig, journal.url, folder))
        try:
            yield Theatre(kubeconfig, folder, client, kubelet, journal, operator)
        finally:
            node.cancel()
            await asyncio.gather(node, return_exceptions=True)


@asynccontextmanager
async def open_operator(kubeconfig: str, gateway_url: str, folder: Path) -> AsyncIterator[Operator]:
    """Start an operator behind a proxy; at the end it must exit well, without having logged an error."""
    async with Proxy(load_access(kubeconfig)).serve() as proxy:
        own = write_kubeconfig(folder / "kubeconfig", proxy.url)
        operator = Operator(proxy, OperatorProcess(str(own), gateway_url, folder), own)
        await operator.start()
        yield operator
        await operator.until_acting()
        code = await operator.process.stop()
        problems = operator.process.problems()
        assert (code, problems) == (0, []), f"the operator exited with {code}; it logged as errors: {problems}"


@asynccontextmanager
async def open_stage(theatre: Theatre, fault: Fault | None = None, at: int = 1) -> AsyncIterator[Stage]:
    """Give a stage; `fault` strikes the change number `at` that the operator makes on it."""
    proxy = theatre.operator.proxy
    async with fresh_namespace(theatre.client) as namespace, noted_pods(theatre.client, namespace.name) as pods:
        stage = Stage(theatre, namespace, pods)
        if fault is None:
            yield stage
            return
        verbs = frozenset({EVENT}) if isinstance(fault, Lose) else MUTATING
        stage.armed = proxy.arm(Rule(fault, at=at, match=Match(verbs, namespace=namespace.name)))
        try:
            yield stage
        finally:
            proxy.disarm(stage.armed)


def records_of(proxy: Proxy, namespace: str) -> list[Record]:
    """Return the changes in a namespace that came by a proxy."""
    return [record for record in proxy.records if record.call.namespace == namespace]


async def _publish_ca(client: Client) -> None:
    """Let there be a CA, so that namespaces get their copy."""
    ca = {"metadata": {"name": names.CA_CONFIG_MAP}, "data": {"ca.crt": "made-up"}}
    try:
        await client.create(CONFIG_MAP, INSTALL_NAMESPACE, ca)
    except AlreadyExists:
        await client.merge_patch(CONFIG_MAP, INSTALL_NAMESPACE, names.CA_CONFIG_MAP, ca)


def _pod_uid(status: Json) -> str:
    rows: list[Json] = status.get("agents") or [{}]
    return str(rows[0].get("podUID", ""))


def _marker() -> dict[str, Any]:
    """Return a pod that nobody runs: what the history holds before it happened before now."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "none", "image": "none", "securityContext": security}
    return {"metadata": {"name": MARKER}, "spec": {"schedulerName": "nobody", "containers": [container]}}
