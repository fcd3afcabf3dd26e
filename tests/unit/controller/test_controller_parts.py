"""Small parts of the operator: Events, conditions of providers, version skew, passes that fail."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.controller.accept import check_sizes, check_spec
from agentsessions.controller.events import build_event
from agentsessions.controller.governance import Governance
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.passes import Passes
from agentsessions.controller.providers import ready_condition
from agentsessions.controller.reconcile import draw_jitter
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.skew import mark_unreadable
from agentsessions.controller.views import to_provider, to_session
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.engine.errors import Conflict, NotFound, Unreachable
from agentsessions.engine.queue import KeyedQueue
from agentsessions.lifecycle.decision import EventWanted
from tests.builders import T0
from tests.unit.controller.objects import a_raw_provider, a_raw_session

VIEW = to_session(a_raw_session()).view


@pytest.mark.requirement("OPS-4")
def test_build_event_gives_a_second_try_the_same_name() -> None:
    event = EventWanted("Normal", "Running", "agent runs")
    first, second = (build_event(VIEW, event, T0 + timedelta(seconds=n)) for n in (0, 1))
    assert first["metadata"] == second["metadata"]
    assert first["regarding"]["uid"] == VIEW.uid
    assert first["eventTime"] == "2026-11-21T12:00:00.000000Z"


def test_build_event_cuts_its_note_at_a_character() -> None:
    note = build_event(VIEW, EventWanted("Warning", "Failed", "ü" * 1000), T0)["note"]
    assert note == "ü" * 512


def test_ready_condition_keeps_its_date_while_it_holds() -> None:
    record = to_provider(a_raw_provider())
    first = ready_condition(record, T0)
    raw = a_raw_provider() | {"status": {"conditions": [first.to_json()]}}
    assert ready_condition(to_provider(raw), T0 + timedelta(hours=1)) == first


def test_ready_condition_tells_what_is_wrong_with_a_script() -> None:
    script = {"rules": [{"when": {"text": "("}, "answer": {"text": "x"}}]}
    condition = ready_condition(to_provider(a_raw_provider(script=script)), T0)
    assert (condition.status, condition.reason) == ("False", Reason.SCRIPT_INVALID)


@pytest.mark.requirement("POL-1")
async def test_a_policy_is_told_what_is_wrong_with_it_and_written_only_when_that_changes() -> None:
    written: list[Any] = []

    async def patch(request: web.Request) -> web.Response:
        written.append((await request.json())["status"])
        return web.json_response(a_policy(version=str(len(written) + 1), status=written[-1]))

    app = web.Application()
    app.router.add_patch("/apis/agentsessions.dev/v1alpha1/namespaces/team/agentpolicies/p/status", patch)
    async with TestServer(app) as server:
        access = ClusterAccess(server=f"http://127.0.0.1:{server.port}", ssl=False, token=lambda: None)
        client = Client(access, field_manager="test")
        governance = Governance(
            client, Metrics(), clock=lambda: T0, on_approval=lambda _uid: None, fetch_level=no_level
        )
        governance.policies.note("ADDED", a_policy(when="argument.command == 'x'"))
        for _ in range(2):
            await governance.check_policy("team/p")
        await client.close()
    (status,) = written
    (condition,) = status["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Accepted", "False", "PolicyInvalid")
    assert "every call of a session that it binds is denied: rule r: " in condition["message"]


async def no_level(uid: str) -> None:
    del uid


def a_policy(version: str = "1", status: Any = None, when: str = "argument.command == 'x'") -> dict[str, Any]:
    meta = {"namespace": "team", "name": "p", "uid": "u", "generation": 1, "resourceVersion": version}
    return {"metadata": meta, "spec": {"rules": [{"name": "r", "action": "Deny", "when": when}]}, "status": status}


def test_mark_unreadable_changes_one_condition_alone() -> None:
    status = SessionStatus(phase=Phase.RUNNING)
    once = mark_unreadable(status, "limits.x: unknown", T0)
    again = mark_unreadable(once, "limits.x: unknown", T0 + timedelta(hours=1))
    assert once.phase is Phase.RUNNING
    assert once == again
    assert [(c.type, c.status, c.reason) for c in once.conditions or []] == [("Accepted", "False", "InvalidSpec")]


def test_draw_jitter_is_the_same_within_a_retry() -> None:
    assert draw_jitter(VIEW) == draw_jitter(VIEW)
    assert 0 <= draw_jitter(VIEW) < 1


@pytest.mark.requirement("OBJ-6")
@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        pytest.param(
            {"context": {"json": {"a": "x" * 262_144}}}, Reason.CONTEXT_TOO_LARGE, "spec.context.json", id="large JSON"
        ),
        pytest.param(
            {"agents": [{"name": "a", "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}]},
            Reason.INVALID_SPEC,
            "resources.requests.memory",
            id="a request above its limit",
        ),
    ],
)
def test_check_spec_names_the_field(spec: dict[str, object], reason: Reason, words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        check_spec(SessionSpec.model_validate({"goal": "g", **spec}))
    assert refused.value.reason is reason


@pytest.mark.requirement("OBJ-6")
@pytest.mark.parametrize("content", [{"context": b"x" * 262_145}, {"file-0": b"x" * 600_000, "file-1": b"x" * 600_000}])
def test_check_sizes_refuses_what_does_not_fit(content: dict[str, bytes]) -> None:
    reference = {"name": "c", "key": "k"}
    files = [{"path": path, "configMapKeyRef": reference} for path in ("a", "b")]
    spec = SessionSpec.model_validate({"goal": "g", "context": {"configMapKeyRef": reference, "files": files}})
    with pytest.raises(RefusedError, match="at most"):
        check_sizes(spec, content)


class Failing:
    """A reconcile that fails as it is told to."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.refreshed: list[str] = []
        self.is_news = True

    async def reconcile(self, _key: str) -> datetime | None:
        if self.error is not None:
            raise self.error
        return T0

    async def refresh(self, key: str) -> bool:
        self.refreshed.append(key)
        return self.is_news


@pytest.mark.parametrize(
    ("error", "result"),
    [
        pytest.param(None, "done", id="it went well"),
        pytest.param(Unreachable("no answer"), "passing", id="the API server is away"),
        pytest.param(Conflict(409, "Conflict", "changed"), "conflict", id="the object has changed"),
        pytest.param(NotFound(404, "NotFound", "gone"), "conflict", id="the object is gone, and no stream said so"),
        pytest.param(KeyError("bug"), "bug", id="a bug of ours"),
    ],
)
async def test_a_pass_is_tried_again_whatever_happened(error: Exception | None, result: str) -> None:
    now = 1000.0
    queue, metrics, failing = KeyedQueue(clock=lambda: now), Metrics(), Failing(error)
    passes = Passes(queue, failing.reconcile, failing.refresh, metrics, clock=lambda: T0)
    await passes.run("team/rows")
    now += 60
    assert len(queue) == 1
    assert metrics.registry.get_sample_value("agentsession_passes_total", {"result": result}) == 1
    assert bool(failing.refreshed) is isinstance(error, Conflict | NotFound)


@pytest.mark.parametrize(
    ("is_news", "waiting"),
    [
        pytest.param(True, 1, id="the object has changed: at once"),
        pytest.param(False, 0, id="it has not, so the conflict is about something else: after a pause"),
    ],
)
async def test_a_conflict_is_tried_again_at_once_only_on_news(is_news: bool, waiting: int) -> None:
    now = 1000.0
    queue, failing = KeyedQueue(clock=lambda: now), Failing(Conflict(409, "Conflict", "changed"))
    failing.is_news = is_news
    await Passes(queue, failing.reconcile, failing.refresh, Metrics(), clock=lambda: T0).run("team/rows")
    assert len(queue) == waiting
    now += 60
    assert len(queue) == 1
