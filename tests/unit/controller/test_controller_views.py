from typing import Any

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.controller.views import to_pod, to_provider, to_session
from tests.builders import SESSION_UID, T0
from tests.unit.controller.objects import a_raw_pod, a_raw_provider, a_raw_session


def test_to_session_reads_spec_and_status() -> None:
    record = to_session(a_raw_session(status={"phase": "Running", "phaseStartedAt": "2026-11-21T12:00:00Z"}))
    assert not record.problem
    assert record.view.status.phase is Phase.RUNNING
    assert record.view.status.phase_started_at == T0


def test_to_session_tells_what_it_cannot_read_in_a_spec() -> None:
    record = to_session(a_raw_session(limits={"maxWishes": 3}))
    assert "limits.maxWishes" in record.problem


def test_to_session_leaves_out_status_fields_of_a_newer_version() -> None:
    status = {"phase": "Running", "weather": "fine", "usage": {"steps": 2, "smiles": 1}}
    record = to_session(a_raw_session(status=status))
    assert not record.status_problem
    assert record.view.status.usage is not None
    assert record.view.status.usage.steps == 2
    assert status["weather"] == "fine", "the object of the stream is not changed"


def test_to_session_tells_a_status_that_no_cleaning_makes_readable() -> None:
    assert to_session(a_raw_session(status={"phase": "Dreaming"})).status_problem


def test_to_provider_tells_what_it_cannot_read() -> None:
    record = to_provider(a_raw_provider(type="Oracle"))
    assert record.spec is None
    assert "type" in record.problem


CONTAINER = "containerStatuses"


@pytest.mark.parametrize(
    ("status", "want"),
    [
        pytest.param({}, {"phase": "Pending", "waiting_reason": ""}, id="a new pod"),
        pytest.param(
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
                ],
            },
            {"waiting_reason": "Unschedulable", "message": "0/1 nodes"},
            id="no node has room",
        ),
        pytest.param(
            {
                "phase": "Pending",
                CONTAINER: [{"name": "agent", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}],
            },
            {"waiting_reason": "ImagePullBackOff", "message": "no"},
            id="the image cannot be pulled",
        ),
        pytest.param(
            {
                "phase": "Failed",
                "initContainerStatuses": [
                    {"name": "copy", "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": "full\n"}}}
                ],
                CONTAINER: [{"name": "agent", "state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            {"waiting_reason": "Error", "message": "full", "is_ended": True, "started_at": None, "exit_code": None},
            id="its volume cannot be filled",
        ),
        pytest.param(
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "copy", "state": {"running": {}}}],
                CONTAINER: [{"name": "agent", "state": {"waiting": {"reason": "PodInitializing"}}}],
            },
            {"waiting_reason": "PodInitializing", "message": ""},
            id="its volume is being filled",
        ),
        pytest.param(
            {
                "phase": "Running",
                CONTAINER: [{"name": "agent", "state": {"running": {"startedAt": "2026-11-21T12:00:00Z"}}}],
            },
            {"phase": "Running", "started_at": T0, "is_ended": False},
            id="it runs",
        ),
        pytest.param(
            {
                "phase": "Failed",
                CONTAINER: [
                    {
                        "name": "agent",
                        "state": {
                            "terminated": {
                                "exitCode": 137,
                                "reason": "OOMKilled",
                                "finishedAt": "2026-11-21T12:00:00Z",
                            }
                        },
                    }
                ],
            },
            {"exit_code": 137, "message": "OOMKilled", "finished_at": T0, "is_ended": True},
            id="it used too much memory",
        ),
        pytest.param(
            {"phase": "Failed", "reason": "Evicted", "message": "disk pressure"},
            {"exit_code": None, "message": "Evicted: disk pressure", "is_ended": True},
            id="it was evicted before its container started",
        ),
        pytest.param(
            {
                "phase": "Running",
                "conditions": [
                    {"type": "Ready", "status": "False"},
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "DeletionByTaintManager",
                        "message": "Taint manager: deleting due to NoExecute taint",
                    },
                ],
            },
            {"is_node_lost": True, "message": "Taint manager: deleting due to NoExecute taint", "is_ended": False},
            id="its node cannot be reached",
        ),
        pytest.param(
            {
                "phase": "Failed",
                "conditions": [
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "DeletionByPodGC",
                        "message": "PodGC: node no longer exists",
                    }
                ],
            },
            {"is_node_lost": True, "message": "PodGC: node no longer exists", "is_ended": True},
            id="its node is gone",
        ),
        pytest.param(
            {"phase": "Running", "reason": "NodeLost", "message": "Node n1 is unresponsive"},
            {"is_node_lost": True, "message": "Node n1 is unresponsive"},
            id="its node was lost, as older versions say it",
        ),
        pytest.param(
            {
                "phase": "Failed",
                "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}],
            },
            {"is_node_lost": False},
            id="another pod took its place",
        ),
        pytest.param(
            {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
            {"is_node_lost": False, "is_ended": False},
            id="its node is not ready, and not given up",
        ),
        pytest.param(
            {"phase": "Succeeded", CONTAINER: [{"name": "sidecar", "state": {"terminated": {"exitCode": 3}}}]},
            {"exit_code": None},
            id="a container that somebody added does not count",
        ),
    ],
)
def test_to_pod_reads_what_matters(status: dict[str, Any], want: dict[str, Any]) -> None:
    pod = to_pod(a_raw_pod(status))
    assert pod is not None
    assert pod.session_uid == SESSION_UID
    assert {name: getattr(pod, name) for name in want} == want


@pytest.mark.parametrize(
    "meta",
    [
        pytest.param({"ownerReferences": []}, id="no session owns it"),
        pytest.param({"labels": {}}, id="it has no labels of ours"),
        pytest.param(
            {"labels": {"agentsessions.dev/agent": "a", "agentsessions.dev/epoch": "x"}}, id="its epoch is no number"
        ),
    ],
)
def test_to_pod_ignores_pods_that_are_no_agents(meta: dict[str, Any]) -> None:
    assert to_pod(a_raw_pod(**meta)) is None


def test_to_session_tells_of_json_that_is_too_deep() -> None:
    value: dict[str, Any] = {}
    for _ in range(100):
        value = {"in": [value]}
    record = to_session(a_raw_session(context={"json": value}))
    assert "context.json" in record.problem
    assert "more than 64 levels deep" in record.problem
