"""What `doctor --probe` makes of what its two pods saw, and what they are and do."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from agentsessions.children.namespace import build_network_policy
from agentsessions.cli.attempt import attempt
from agentsessions.cli.connection import Connection, Given
from agentsessions.cli.egress import Place, Seen, build_probe, judge, probe_network_policies
from agentsessions.cli.findings import Level
from tests.unit.cli.conftest import kubeconfig
from tests.unit.client.script_server import Answer, Asked, ScriptServer

pytestmark = pytest.mark.requirement("ID-5")

OTHER = ("10.0.0.2", 8080)
PLACE = Place(("10.96.7.7", 443), OTHER, "agentsessions:1", "Never")


@pytest.mark.parametrize(
    ("held", "free", "level", "words"),
    [
        pytest.param(Seen(True, False), Seen(True, True), Level.GOOD, "enforced: ", id="the policy alone closes it"),
        pytest.param(Seen(True, True), Seen(True, True), Level.BAD, "NOT enforced", id="the policy closes nothing"),
        pytest.param(Seen(False, False), Seen(True, True), Level.BAD, "do not reach the", id="it closes too much"),
        pytest.param(Seen(True, False), Seen(True, False), Level.WARNING, "cannot be tried", id="nobody answers there"),
        pytest.param(None, Seen(True, True), Level.WARNING, "did not end", id="the pod under the policy got stuck"),
        pytest.param(Seen(True, False), None, Level.WARNING, "did not end", id="the pod without it got stuck"),
    ],
)
def test_judge_calls_a_policy_enforced_only_on_proof(
    held: Seen | None, free: Seen | None, level: Level, words: str
) -> None:
    finding = judge(held, free, OTHER)
    assert (finding.level, words in finding.text) == (level, True)
    assert bool(finding.todo) is (level is not Level.GOOD)


def test_probe_is_under_the_agents_policy_or_not_and_else_the_same() -> None:
    held, free = (build_probe("probe", PLACE, is_held=is_held) for is_held in (True, False))
    selected = build_network_policy("team", "agentsessions-system")["spec"]["podSelector"]["matchLabels"]
    assert held["metadata"]["labels"] == selected
    assert free["metadata"]["labels"] == {}
    (container,) = held["spec"]["containers"]
    assert held["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (other,) = free["spec"]["containers"]
    assert {**container, "command": container["command"][:-1]} == {**other, "command": other["command"][:-1]}
    compile(container["command"][2], "attempt", "exec")


def test_attempt_tells_what_takes_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens: refused at once
        here, nowhere = listening.getsockname(), closed.getsockname()
        assert attempt(here, nowhere, 0) == (True, False)
        assert attempt(nowhere, here, 0) == (False, True)


class Cluster:
    """An API server with the product, where a pod ends at once, having seen what `sees` says of it."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {
            "/networkpolicies/agentsessions-runner": {},
            "/deployments/agentsessions-operator": {
                "spec": {"template": {"spec": {"containers": [{"image": "agentsessions:1"}]}}}
            },
            "/services/agentsessions-gateway": {"spec": {"clusterIP": "10.96.7.7"}},
        }
        self.sees = {True: "[true, false]", False: "[true, true]"}
        self.refused: set[bool] = set()
        self.pods: dict[str, bool] = {}
        """Pods that are there, and whether they are under the agents' policy."""

    def answer(self, asked: Asked) -> Answer:
        path = asked.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if asked.method == "POST":
            return self._create(asked.json())
        if asked.method == "DELETE":
            return Answer(body={"was": self.pods.pop(name)})
        if name in self.pods:
            ended = {"terminated": {"message": self.sees[self.pods[name]]}}
            return Answer(body={"status": {"phase": "Succeeded", "containerStatuses": [{"state": ended}]}})
        if path.endswith("/agentsessions-system/pods"):
            return Answer(body={"metadata": {"resourceVersion": "1"}, "items": [{"status": {"podIP": "10.0.0.2"}}]})
        found = next((body for end, body in self.objects.items() if path.endswith(end)), None)
        return Answer(body=found) if found is not None else Answer(404, {"reason": "NotFound", "message": "none"})

    def _create(self, pod: dict[str, Any]) -> Answer:
        is_held = bool(pod["metadata"]["labels"])
        if is_held in self.refused:
            return Answer(403, {"reason": "Forbidden", "message": "exceeded quota"})
        self.pods[pod["metadata"]["name"]] = is_held
        return Answer(201, pod)


@pytest.fixture
def cluster(server: ScriptServer) -> Cluster:
    cluster = Cluster()
    server.answer = cluster.answer
    return cluster


@pytest.fixture
def connection(server: ScriptServer, tmp_path: Path) -> Connection:
    path = tmp_path / "config"
    path.write_text(json.dumps(kubeconfig(server.url, {"token": "a-token"})))
    return Connection(Given(kubeconfig=str(path)))


def test_probe_says_what_its_pods_saw_and_takes_them_away(cluster: Cluster, connection: Connection) -> None:
    assert probe_network_policies(connection).level is Level.GOOD
    cluster.sees[True] = "[true, true]"
    finding = probe_network_policies(connection)
    assert (finding.level, "10.0.0.2:8080" in finding.text) == (Level.BAD, True)
    assert cluster.pods == {}


@pytest.mark.parametrize("is_held", [True, False])
def test_probe_leaves_no_pod_behind_when_one_is_refused(
    cluster: Cluster, connection: Connection, *, is_held: bool
) -> None:
    cluster.refused = {is_held}
    finding = probe_network_policies(connection)
    assert (finding.level, "exceeded quota" in finding.text) == (Level.WARNING, True)
    assert cluster.pods == {}


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("/networkpolicies/agentsessions-runner", "no session has begun in namespace demo"),
        ("/deployments/agentsessions-operator", "not installed and running"),
        ("/services/agentsessions-gateway", "not installed and running"),
    ],
)
def test_probe_that_has_nothing_to_try_makes_no_pod(
    cluster: Cluster, connection: Connection, server: ScriptServer, missing: str, words: str
) -> None:
    del cluster.objects[missing]
    finding = probe_network_policies(connection)
    assert (finding.level, words in finding.text) == (Level.WARNING, True)
    assert {asked.method for asked in server.asked} == {"GET"}
