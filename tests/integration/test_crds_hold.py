"""What may change after creation, on a real API server: spec fields and phases; and what `kubectl get` can show."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client, config

from agentsessions.api.names import GROUP, VERSION
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import MUTABLE_SPEC_FIELDS, SessionSpec
from agentsessions.lifecycle.phases import TERMINAL, TRANSITIONS
from tests.integration.crds_cluster import Kubectl, Manifest, a_provider, a_session, fresh_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

FULL = a_session(
    "full",
    title="T",
    description="D",
    sessionId="rows-1",
    owner="kubernetes-admin",
    metadata={"team": "sales"},
    priority=1,
    pausePolicy={"boundary": "Step"},
    shutdown={"gracePeriodSeconds": 5},
    conversation={"open": True, "idleSeconds": 30, "maxHistory": 10},
    expireAfterSeconds=600,
    ttlSecondsAfterFinished=600,
    context={"json": {"deep": {"list": [1, 2]}}},
    agents=[{"name": "worker", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}],
    limits={"maxSteps": 5},
    retry={"maxRetries": 1},
    workspace={"size": "1Gi"},
    directorRef={"name": "boss"},
    capabilities=["counting"],
)

CHANGES: dict[str, tuple[Any, ...]] = {
    "goal": ("Another goal.",),
    "context": ({"json": {"deep": {"list": [1, 3]}}}, {"text": "new"}, None),
    "agents": ([{"name": "worker", "resources": {"limits": {"cpu": 2, "memory": "1Gi"}}}], [{"name": "other"}], None),
    "workspace": ({"size": "2Gi"}, {"size": "1024Mi", "storageClassName": "fast"}),
    "placement": ({"nodeSelector": {"pool": "gpu"}, "timeoutSeconds": 60},),
    "sessionId": ("rows-2", None),
    "owner": ("somebody@example.com", None),
    "title": ("Another", None),
    "metadata": ({"team": "finance"}, None),
    "priority": (-5, None),
    "pausePolicy": ({"boundary": "Immediate"}, None),
    "shutdown": ({"gracePeriodSeconds": 0, "reason": "enough"}, None),
    "conversation": ({"open": False, "idleSeconds": 30, "maxHistory": 10},),
    "expireAfterSeconds": (60, None),
    "ttlSecondsAfterFinished": (0, None),
    "description": ("Another", None),
    "limits": ({"maxSteps": 6}, {"maxTokens": 5}, None),
    "retry": ({"maxRetries": 2}, None),
    "operatingMode": ("Paused",),
    "role": ("Department",),
    "directorRef": ({"name": "other"}, None),
    "capabilities": (["counting", "adding"], None),
    "coordination": ({"strategy": "Parallel"},),
    "dataSources": ([{"name": "rows", "format": "CSV", "configMapKeyRef": {"name": "a", "key": "b"}}],),
    "templateRef": ({"name": "a"},),
    "policyRef": ({"name": "b"},),
    "source": ({"sessionRef": {"name": "b"}},),
    "replay": ({"of": {"name": "b"}},),
}
ONLY_ONE_VALUE = frozenset({"mode"})
"""Closed sets of one word: there is nothing to change them to."""
OF_METRICS = frozenset({"type", "schedule"})
"""They go together, and exclude a conversation: see the tests of their own."""
OF_OBSERVERS = frozenset({"monitors"})
OF_DIRECTORS = frozenset({"childSessions"})
OBSERVER = a_session("watcher", role="Observer", monitors=["rows"])
METRICS = a_session("rounds", type="Metrics", schedule={"intervalSeconds": 5, "durationSeconds": 60})
ANSWERED = a_session("answered", conversation={"open": False})


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-hold") as kubectl:
        for manifest in (FULL, METRICS, ANSWERED, OBSERVER):
            kubectl("create", "--filename", "-", manifest=manifest)
        yield kubectl


@pytest.fixture(scope="module")
def objects(kubectl: Kubectl) -> Iterator[client.CustomObjectsApi]:
    with config.new_client_from_config(kubectl.kubeconfig) as api:
        yield client.CustomObjectsApi(api)


def full_with(field: str, value: object) -> Manifest:
    """Return the full session with one field changed, or removed with None."""
    return FULL | {"spec": {k: v for k, v in (FULL["spec"] | {field: value}).items() if v is not None}}


def test_changes_cover_every_field() -> None:
    fields = {info.alias or name for name, info in SessionSpec.model_fields.items()}
    assert CHANGES.keys() | ONLY_ONE_VALUE | OF_METRICS | OF_OBSERVERS | OF_DIRECTORS == fields


@pytest.mark.requirement("AG-5")
def test_observer_can_be_given_other_sessions_to_see(kubectl: Kubectl) -> None:
    kubectl("apply", "--filename", "-", manifest=a_session("watcher", role="Observer", monitors=["rows-*", "boss"]))


@pytest.mark.requirement("LIFE-2")
@pytest.mark.parametrize(
    ("field", "value"),
    [pytest.param(f, v, id=f"{f} to {v}") for f in CHANGES for v in CHANGES[f] if f not in MUTABLE_SPEC_FIELDS],
)
def test_what_runs_cannot_change(kubectl: Kubectl, field: str, value: object) -> None:
    message = kubectl.refusal("replace", "--filename", "-", manifest=full_with(field, value))
    assert f"spec.{field} cannot change after creation: create a new session" in message


@pytest.mark.parametrize(
    ("field", "value"),
    [pytest.param(f, v, id=f"{f} to {v}") for f in CHANGES for v in CHANGES[f] if f in MUTABLE_SPEC_FIELDS],
)
def test_what_people_steer_can_change(kubectl: Kubectl, field: str, value: object) -> None:
    kubectl("replace", "--filename", "-", "--dry-run=server", manifest=full_with(field, value))


def changed(manifest: Manifest, **fields: Any) -> Manifest:
    """Return a manifest with fields of its spec changed, or removed with None."""
    return manifest | {"spec": {k: v for k, v in (manifest["spec"] | fields).items() if v is not None}}


HELD_TOGETHER = {
    "a conversation's wait": (
        full_with("conversation", {"open": True, "idleSeconds": 31, "maxHistory": 10}),
        "spec.conversation.idleSeconds cannot change after creation: create a new session",
    ),
    "a wait that is removed": (
        full_with("conversation", {"open": True, "maxHistory": 10}),
        "spec.conversation.idleSeconds cannot change after creation: create a new session",
    ),
    "a conversation's window": (
        full_with("conversation", {"open": True, "idleSeconds": 30, "maxHistory": 11}),
        "spec.conversation.maxHistory cannot change after creation: create a new session",
    ),
    "a conversation is not removed": (
        full_with("conversation", None),
        "spec.conversation cannot be added or removed after creation: create a new session",
    ),
    "a closed conversation is not opened": (
        changed(ANSWERED, conversation={"open": True}),
        "spec.conversation.open can only change to false: create a new session to talk on",
    ),
    "a type": (
        changed(METRICS, type="Custom", schedule=None),
        "spec.type cannot change after creation: create a new session",
    ),
    "a schedule": (
        changed(METRICS, schedule={"intervalSeconds": 6, "durationSeconds": 60}),
        "spec.schedule cannot change after creation: create a new session",
    ),
}


@pytest.mark.requirement("LIFE-2")
@pytest.mark.parametrize(("manifest", "words"), HELD_TOGETHER.values(), ids=HELD_TOGETHER.keys())
def test_what_belongs_together_cannot_change(kubectl: Kubectl, manifest: Manifest, words: str) -> None:
    assert words in kubectl.refusal("replace", "--filename", "-", manifest=manifest)


@pytest.mark.requirement("LIFE-2")
@pytest.mark.parametrize("phase", sorted(TERMINAL))
@pytest.mark.parametrize("mode", ["Paused", "Cancelled", "Running"])
def test_a_finished_session_is_neither_paused_nor_resumed_nor_cancelled(
    objects: client.CustomObjectsApi, kubectl: Kubectl, phase: Phase, mode: str
) -> None:
    was = "Paused" if mode == "Running" else "Running"
    name = f"{phase}-to-{mode}".lower()
    where = (GROUP, VERSION, kubectl.namespace, "agentsessions")
    objects.create_namespaced_custom_object(*where, a_session(name, operatingMode=was))
    objects.patch_namespaced_custom_object_status(*where, name, {"status": {"phase": phase}})
    change = json.dumps({"spec": {"operatingMode": mode}})
    words = kubectl.refusal("patch", "ags", name, "--type=merge", "--patch", change)
    assert f"session is finished ({phase}): operatingMode cannot change; create a new session" in words


@pytest.mark.requirement("LIFE-2")
def test_a_finished_session_takes_its_own_manifest_and_its_status_again(
    objects: client.CustomObjectsApi, kubectl: Kubectl
) -> None:
    where, name = (GROUP, VERSION, kubectl.namespace, "agentsessions"), "finished"
    kubectl("apply", "--filename", "-", manifest=a_session(name))
    objects.patch_namespaced_custom_object_status(*where, name, {"status": {"phase": "Completed"}})
    kubectl("apply", "--filename", "-", manifest=a_session(name))
    kubectl("apply", "--filename", "-", manifest=a_session(name, title="Renamed"))
    objects.patch_namespaced_custom_object_status(*where, name, {"status": {"podsRemaining": 0}})


@pytest.mark.requirement("LIFE-5")
def test_cancel_is_one_way(kubectl: Kubectl) -> None:
    kubectl("create", "--filename", "-", manifest=a_session("cancelled", operatingMode="Cancelled"))
    for mode in ("Running", "Paused"):
        change = json.dumps({"spec": {"operatingMode": mode}})
        message = kubectl.refusal("patch", "ags", "cancelled", "--type=merge", "--patch", change)
        assert "a cancelled session stays cancelled: create a new session instead" in message


def test_provider_type_cannot_change(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest=a_provider("p", type="OpenAICompatible", url="https://example.com/v1"))
    script = {"rules": [{"answer": {"text": "hello"}}]}
    message = kubectl.refusal("replace", "-f", "-", manifest=a_provider("p", type="Scripted", script=script))
    assert "type is immutable: create a provider with another name" in message


@pytest.mark.requirement("LIFE-1")
@pytest.mark.parametrize("current", Phase)
def test_phase_moves_by_the_table_alone(objects: client.CustomObjectsApi, kubectl: Kubectl, current: Phase) -> None:
    name = f"in-{current.lower()}"
    where = (GROUP, VERSION, kubectl.namespace, "agentsessions")
    objects.create_namespaced_custom_object(*where, a_session(name))
    objects.patch_namespaced_custom_object_status(*where, name, {"status": {"phase": current}})
    refused = {}
    for wanted in (*Phase, None):
        try:
            body = {"status": {"phase": wanted}}
            objects.patch_namespaced_custom_object_status(*where, name, body, dry_run="All")
        except client.ApiException as error:
            refused[wanted] = error.body
    assert refused.keys() == {*Phase, None} - TRANSITIONS[current] - {current}
    assert "status.phase cannot be removed once it is set" in refused.pop(None)
    for wanted, message in refused.items():
        assert f"status.phase cannot move from {current} to {wanted}" in message


@pytest.mark.requirement("OBJ-1")
def test_get_shows_and_selects(kubectl: Kubectl) -> None:
    kubectl("create", "-f", "-", manifest=a_session("shown"))
    status = {
        "phase": "Running",
        "usage": {"steps": 3, "totalTokens": 1234},
        "retries": 1,
        "agents": [{"name": "agent", "epoch": 2, "podName": "shown-12345678-2"}],
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "Running",
                "message": "It runs.",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    kubectl("patch", "ags", "shown", "--subresource=status", "--type=merge", "--patch", json.dumps({"status": status}))
    selector = "--field-selector=status.phase=Running,spec.type=Custom,spec.role=Worker"
    head, *rows = kubectl("get", "agents", selector, "--output=wide").splitlines()
    always, wide = "NAME TYPE PHASE STEPS TOKENS REASON AGE", "ROLE READY COST RETRIES POD OWNER TEMPLATE"
    assert " ".join(head.split()) == f"{always} {wide}"
    assert ["shown", "Custom", "Running", "3", "1234", "Running"] in [row.split()[:6] for row in rows]
    assert [row.split()[7:] for row in rows if row.startswith("shown ")] == [
        ["Worker", "True", "1", "shown-12345678-2"]
    ]
