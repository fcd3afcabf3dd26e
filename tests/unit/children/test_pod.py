"""The pod of an agent, as a whole against files, and by the rules that no session may bend."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentsessions.api import names
from agentsessions.api.v1alpha1.agent import AgentResources
from agentsessions.api.v1alpha1.placement import FilledFrom, Site, Volume
from agentsessions.children.names import claim_name
from agentsessions.children.placement import label_key
from agentsessions.children.pod import build_pod, build_resources
from agentsessions.children.settings import PodSettings
from agentsessions.lifecycle.effective import resolve
from tests.builders import SESSION_UID
from tests.unit.children.sessions import a_view

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
GATEWAY = "agentsessions-gateway.agentsessions-system.svc"
SETTINGS = PodSettings(f"https://{GATEWAY}", "agentsessions:0.1.0", gateway_addresses=("10.96.7.7",))
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
    "pod-placed": {
        "workspace": {"size": "1Gi", "storageClassName": "fast"},
        "placement": {
            "nodeSelector": {"pool": "gpu"},
            "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
            "sessionAffinity": [
                {"selector": {"matchLabels": {"team": "sales"}}, "topologyKey": "topology.kubernetes.io/zone"},
                {
                    "selector": {"matchLabels": {"app.kubernetes.io/part-of": "load"}},
                    "nearness": "Apart",
                    "strictness": "Required",
                },
            ],
        },
    },
    "pod-foreign": {"agents": [{"name": "coder", "image": "example.org/coder:2"}]},
}


COPIED = {"pod-placed": Volume(number=3, storage_class_name="slow", size="1Gi")}
"""Cases whose volume begins with the files of another one."""


def build(epoch: int = 1, copy_from: Volume | None = None, **spec: Any) -> dict[str, Any]:
    view = a_view(**spec)
    return build_pod(view, resolve(view.spec).agents[0], epoch, SETTINGS, copy_from=copy_from)


@pytest.mark.requirement("AG-1")
@pytest.mark.parametrize("case", CASES)
def test_build_pod_gives_the_golden_pod(case: str) -> None:
    golden = GOLDEN / f"{case}.yaml"
    made = yaml.safe_dump(build(copy_from=COPIED.get(case), **CASES[case]), sort_keys=False)
    assert made == golden.read_text(), f"if the change is meant, write the new pod to tests/golden/{golden.name}"


@pytest.mark.requirement("ID-5")
@pytest.mark.parametrize("case", CASES)
def test_build_pod_stays_within_the_restricted_standard(case: str) -> None:
    spec = build(copy_from=COPIED.get(case), **CASES[case])["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in (container, *spec.get("initContainers", ())):
        assert each["securityContext"]["allowPrivilegeEscalation"] is False
        assert each["securityContext"]["readOnlyRootFilesystem"] is True
        assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert spec["automountServiceAccountToken"] is False
    allowed = {"emptyDir", "persistentVolumeClaim", "projected", "configMap"}
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= allowed
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()


def test_build_pod_lets_our_variables_win() -> None:
    env = [{"name": names.ENV_GATEWAY_URL, "value": "https://elsewhere"}, {"name": "HOME", "value": "/"}]
    (container,) = build(agents=[{"name": "agent", "env": env}])["spec"]["containers"]
    values = [entry["value"] for entry in container["env"] if entry["name"] == names.ENV_GATEWAY_URL]
    assert values == [SETTINGS.gateway_url]


@pytest.mark.requirement("ID-5")
def test_build_pod_knows_the_gateway_by_name_without_dns() -> None:
    both = replace(SETTINGS, gateway_addresses=("10.96.7.7", "fd00::7"))
    view = a_view()
    spec = build_pod(view, resolve(view.spec).agents[0], 1, both)["spec"]
    assert spec["hostAliases"] == [{"ip": ip, "hostnames": [GATEWAY]} for ip in ("10.96.7.7", "fd00::7")]
    assert (spec["dnsPolicy"], spec["dnsConfig"]["nameservers"]) == ("None", ["127.0.0.1"])


def test_build_pod_keeps_the_clusters_dns_for_a_gateway_that_is_no_service() -> None:
    view = a_view()
    spec = build_pod(view, resolve(view.spec).agents[0], 1, replace(SETTINGS, gateway_addresses=()))["spec"]
    assert not {"hostAliases", "dnsPolicy", "dnsConfig"} & spec.keys()


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


@pytest.mark.requirement("AG-7")
def test_a_fork_begins_with_the_files_of_its_source_and_not_with_its_results() -> None:
    source = FilledFrom(
        session_name="other", session_uid="uid-2", number=3, storage_class_name="slow", agents=["agent"]
    )
    view = a_view(workspace={"size": "1Gi"})
    site = Site(volume=Volume(size="1Gi", filled_from=source))
    pod = build_pod(view, resolve(view.spec).agents[0], 1, SETTINGS, site)
    (copy,) = pod["spec"]["initContainers"]
    claim = claim_name("other", "uid-2", "agent", Volume(number=3, storage_class_name="slow", size="1Gi"))
    assert copy["command"][:4] == ["agentsessions-copy", "--without-private", "--name", claim]
    assert pod["spec"]["volumes"][-1]["persistentVolumeClaim"] == {"claimName": claim}
    rest = site.model_copy(update={"volume": Volume(size="1Gi", filled_from=replace_agents(source, ["another"]))})
    assert "initContainers" not in build_pod(view, resolve(view.spec).agents[0], 1, SETTINGS, rest)["spec"]


def replace_agents(source: FilledFrom, agents: list[str]) -> FilledFrom:
    return source.model_copy(update={"agents": agents})


@pytest.mark.requirement("AG-9")
def test_a_pod_carries_the_labels_of_its_session_under_reserved_names() -> None:
    labels = {"team": "sales", "app.kubernetes.io/part-of": "load", "x" * 63: ""}
    view = replace(a_view(), labels={**labels, "agentsessions.dev/epoch": "9"})
    made = build_pod(view, resolve(view.spec).agents[0], 1, SETTINGS)["metadata"]["labels"]
    assert {made[label_key(key)] for key in labels} == {"sales", "load", ""}
    assert made["agentsessions.dev/epoch"] == "1"
    assert all(len(key.rpartition("/")[2]) <= 63 for key in made)


@pytest.mark.requirement("AG-9")
@pytest.mark.requirement("ID-5")
def test_affinity_speaks_of_other_sessions_of_the_own_namespace_alone() -> None:
    affinity = build(**CASES["pod-placed"])["spec"]["affinity"]
    (near,) = affinity["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    (apart,) = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    for term in (near["podAffinityTerm"], apart):
        assert not {"namespaces", "namespaceSelector"} & term.keys()
        assert term["labelSelector"]["matchLabels"]["app.kubernetes.io/managed-by"] == "agentsessions-operator"
        (others,) = term["labelSelector"]["matchExpressions"]
        assert (others["operator"], others["values"]) == ("NotIn", [SESSION_UID])


@pytest.mark.requirement("AG-9")
def test_keys_of_labels_do_not_meet_under_their_reserved_names() -> None:
    keys = ["a/team", "b/team", "team", "t" * 63, "t" * 62 + "s"]
    assert len({label_key(key) for key in keys}) == len(keys)
