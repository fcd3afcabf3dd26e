"""The pod of an agent, as a whole against files, and by the rules that no session may bend."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from agentsessions.api import names
from agentsessions.api.v1alpha1.agent import AgentResources
from agentsessions.children.pod import PodSettings, build_pod, build_resources
from agentsessions.lifecycle.effective import resolve
from tests.unit.children.sessions import a_view

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
SETTINGS = PodSettings("https://agentsessions-gateway.agentsessions-system.svc", "agentsessions:0.1.0")
FILES = [
    {"path": "sales.csv", "configMapKeyRef": {"name": "sales", "key": "sales.csv"}},
    {"path": "notes/read.me", "configMapKeyRef": {"name": "notes", "key": "readme"}},
]
CASES: dict[str, dict[str, Any]] = {
    "pod-plain": {},
    "pod-full": {
        "context": {"files": FILES},
        "dataSources": [
            {"name": "sales", "format": "CSV", "configMapKeyRef": {"name": "sales", "key": "sales.csv"}},
            {"name": "people", "format": "JSON", "configMapKeyRef": {"name": "people", "key": "all"}},
        ],
        "workspace": {"size": "1Gi"},
        "agents": [
            {
                "name": "analyst",
                "env": [{"name": "REGION", "value": "north"}],
                "resources": {"requests": {"memory": "2Gi"}, "limits": {"cpu": 1}},
            }
        ],
    },
    "pod-foreign": {"agents": [{"name": "coder", "image": "example.org/coder:2"}]},
}


def build(epoch: int = 1, **spec: Any) -> dict[str, Any]:
    view = a_view(**spec)
    return build_pod(view, resolve(view.spec).agents[0], epoch, SETTINGS)


@pytest.mark.requirement("AG-1")
@pytest.mark.parametrize("case", CASES)
def test_build_pod_gives_the_golden_pod(case: str) -> None:
    golden = GOLDEN / f"{case}.yaml"
    made = yaml.safe_dump(build(**CASES[case]), sort_keys=False)
    assert made == golden.read_text(), f"if the change is meant, write the new pod to tests/golden/{golden.name}"


@pytest.mark.requirement("ID-5")
@pytest.mark.parametrize("case", CASES)
def test_build_pod_stays_within_the_restricted_standard(case: str) -> None:
    spec = build(**CASES[case])["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    allowed = {"emptyDir", "persistentVolumeClaim", "projected", "configMap"}
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= allowed
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()


def test_build_pod_lets_our_variables_win() -> None:
    env = [{"name": names.ENV_GATEWAY_URL, "value": "https://elsewhere"}, {"name": "HOME", "value": "/"}]
    (container,) = build(agents=[{"name": "agent", "env": env}])["spec"]["containers"]
    values = [entry["value"] for entry in container["env"] if entry["name"] == names.ENV_GATEWAY_URL]
    assert values == [SETTINGS.gateway_url]


def test_build_pod_names_its_session_as_owner() -> None:
    (owner,) = build()["metadata"]["ownerReferences"]
    assert owner["controller"] is True
    assert owner["blockOwnerDeletion"] is False


@pytest.mark.requirement("LIM-5")
@pytest.mark.parametrize(
    ("chosen", "requests", "limits"),
    [
        pytest.param({}, {"cpu": "100m", "memory": "128Mi"}, {"memory": "1Gi"}, id="defaults when nothing is chosen"),
        pytest.param(
            {"requests": {"memory": "2Gi"}},
            {"cpu": "100m", "memory": "2Gi"},
            {"memory": "2Gi"},
            id="a request above the default limit raises it",
        ),
        pytest.param(
            {"limits": {"memory": "64Mi", "cpu": "0.05"}},
            {"cpu": "0.05", "memory": "64Mi"},
            {"memory": "64Mi", "cpu": "0.05"},
            id="a limit below the default request lowers it",
        ),
    ],
)
def test_build_resources_defaults_never_contradict(
    chosen: dict[str, Any], requests: dict[str, str], limits: dict[str, str]
) -> None:
    assert build_resources(AgentResources.model_validate(chosen)) == {"requests": requests, "limits": limits}
