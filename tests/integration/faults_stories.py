"""Stories of a session, as the test plays them: kubelet, runner and journal react to what the status says."""

from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from agentsessions.api.reasons import ExitCode
from agentsessions.api.wire import Outcome
from agentsessions.controller.kinds import AGENT_SESSIONS, MODEL_PROVIDERS, SESSION_APPROVALS
from agentsessions.engine.resources import POD
from tests.integration.controller_cluster import Json
from tests.integration.faults_stage import Stage
from tests.scenario.gateway import a_question

ASKED_AT: Final = datetime(2026, 11, 1, tzinfo=UTC)


async def complete(stage: Stage) -> Json:
    """Pending, Starting, Running, Completed."""
    session, pod = await _begin(stage)
    return await finish(stage, session, pod)


async def lose_pod(stage: Stage) -> Json:
    """Lose the first pod while it runs; the second completes."""
    return await finish(stage, *await lose_first_pod(stage))


async def cancel(stage: Stage) -> Json:
    """Cancel while the pod runs."""
    session, _ = await _begin(stage)
    stage.tell(session)
    await stage.namespace.patch_session(operatingMode="Cancelled")
    return await stage.wait_session("Cancelled")


async def pause(stage: Stage) -> Json:
    """Pause at the end of a turn."""
    session, pod = await _begin(stage)
    return await _pause(stage, session, pod)


async def resume(stage: Stage) -> Json:
    """Pause at the end of a turn, resume, complete in another pod."""
    session, pod = await _begin(stage)
    await _pause(stage, session, pod)
    await stage.namespace.patch_session(operatingMode="Running")
    return await finish(stage, session, await _run_next(stage, pod))


async def wait(stage: Stage) -> Json:
    """Wait for a person, who approves; complete in another pod."""
    session, pod = await _begin(stage)
    stage.tell(session, pod, Outcome.WAITING, [a_question(ASKED_AT)])
    await stage.theatre.kubelet.end(pod, ExitCode.APPROVAL)
    await stage.wait_session("Waiting")
    approval = await stage.namespace.wait(SESSION_APPROVALS, lambda raw: bool(raw.get("status")))
    said = {"spec": {"decisions": {"somebody": {"answer": "Approve"}}}}
    name = approval["metadata"]["name"]
    await stage.theatre.client.merge_patch(SESSION_APPROVALS, stage.namespace.name, name, said)
    await stage.namespace.wait(SESSION_APPROVALS, lambda raw: raw["status"].get("outcome") == "Approved")
    stage.tell(session, pod, Outcome.WAITING)
    return await finish(stage, session, await _run_next(stage, pod))


async def delete(stage: Stage) -> Json:
    """Delete the session as soon as its pod is there; all that belongs to it goes."""
    await _prepare(stage)
    session = await stage.namespace.create_session()
    await stage.wait_pod()
    await stage.theatre.client.delete(AGENT_SESSIONS, stage.namespace.name, session["metadata"]["name"])
    await stage.namespace.wait_gone(AGENT_SESSIONS)
    await stage.namespace.wait_gone(POD)
    return session


STORIES: Final[Mapping[str, Callable[[Stage], Coroutine[Any, Any, Json]]]] = {
    "create": complete,
    "lose pod": lose_pod,
    "pause": pause,
    "resume": resume,
    "cancel": cancel,
    "wait": wait,
    "delete": delete,
}
FIRST: Final = next(iter(STORIES))


async def lose_first_pod(stage: Stage) -> tuple[Json, Json]:
    """Return the session and the second pod, which runs."""
    session, pod = await _begin(stage)
    stage.tell(session)
    await stage.theatre.client.delete(POD, stage.namespace.name, pod["metadata"]["name"], grace_seconds=0)
    return session, await _run_next(stage, pod)


async def _prepare(stage: Stage) -> None:
    await stage.namespace.create_provider()
    await stage.namespace.wait(MODEL_PROVIDERS, lambda raw: bool(raw.get("status")))


async def _pause(stage: Stage, session: Json, pod: Json) -> Json:
    """Pause, and let the pod end its turn and itself."""
    stage.tell(session)
    await stage.namespace.patch_session(operatingMode="Paused")
    await stage.wait_session("Pausing")
    await stage.theatre.kubelet.end(pod, 0)
    return await stage.wait_session("Paused")


async def _begin(stage: Stage) -> tuple[Json, Json]:
    """Create a session, and let its first pod run."""
    await _prepare(stage)
    session = await stage.namespace.create_session()
    pod = await stage.wait_pod()
    await stage.theatre.kubelet.start(pod)
    await stage.wait_session("Running")
    return session, pod


async def _run_next(stage: Stage, before: Json) -> Json:
    """Let the pod after `before` run."""
    uid = before["metadata"]["uid"]
    pod = await stage.wait_pod(beside=uid)
    await stage.theatre.kubelet.start(pod)
    await stage.wait_session("Running", beside=uid)
    return pod


async def finish(stage: Stage, session: Json, pod: Json) -> Json:
    """Let the pod give the final answer and end."""
    stage.tell(session, closed_by=pod)
    await stage.theatre.kubelet.end(pod, 0)
    return await stage.wait_session("Completed")
