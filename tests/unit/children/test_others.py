"""Claim, frozen context, and what a namespace gets."""

from decimal import Decimal
from typing import Any

import pytest

from agentsessions.api.v1alpha1.placement import Volume
from agentsessions.api.v1alpha1.session import Workspace
from agentsessions.children.claim import build_claim
from agentsessions.children.namespace import build_network_policy, build_service_account
from agentsessions.children.owner import owner_uid
from agentsessions.children.quantity import to_number
from agentsessions.children.snapshot import build_snapshot, content_digest, read_key, wanted_content
from tests.builders import SESSION_UID
from tests.unit.children.sessions import a_view


@pytest.mark.parametrize(
    ("chosen", "owner"),
    [
        pytest.param({"size": "1Gi"}, SESSION_UID, id="goes with its session"),
        pytest.param({"size": "1Gi", "whenDeleted": "Retain"}, None, id="a retained one has no owner"),
    ],
)
def test_claim_is_owned_unless_retained(chosen: dict[str, Any], owner: str | None) -> None:
    claim = build_claim(a_view(), "agent", Workspace.model_validate(chosen), Volume(size="1Gi"))
    assert owner_uid(claim) == owner
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert "storageClassName" not in claim["spec"]


@pytest.mark.requirement("OBJ-6")
def test_snapshot_keeps_text_and_bytes_alike() -> None:
    content = {"file-0": b"plain", "file-1": b"\xff\x00", "context": "größe".encode()}
    snapshot = build_snapshot(a_view(), content)
    assert snapshot["immutable"] is True
    assert {key: read_key(snapshot, key) for key in content} == content


def test_content_digest_follows_key_and_content() -> None:
    digests = {content_digest({"file-0": b"a"}), content_digest({"file-1": b"a"}), content_digest({"file-0": b"b"})}
    assert len(digests) == 3
    assert content_digest({}) == ""


def test_wanted_content_lists_files_and_the_shown_context() -> None:
    reference = {"name": "c", "key": "k"}
    spec = a_view(context={"configMapKeyRef": reference, "files": [{"path": "a", "configMapKeyRef": reference}]}).spec
    assert sorted(wanted_content(spec)) == ["context", "file-0"]


@pytest.mark.requirement("ID-5")
def test_network_policy_opens_the_gateway_alone() -> None:
    spec = build_network_policy("team", "agentsessions-system")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    (rule,) = spec["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8443}]
    (peer,) = rule["to"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "agentsessions-system"}
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "gateway"


def test_service_account_mounts_no_token() -> None:
    assert build_service_account("team")["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", "0.5"), ("1Gi", str(2**30)), ("1e3", "1000"), ("2", "2"), (".5", "0.5"), ("1E", "1e18"), ("1k", "1000")],
)
def test_to_number_reads_what_kubernetes_takes(text: str, value: str) -> None:
    assert to_number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "1X", "Gi"])
def test_to_number_refuses_other_text(text: str) -> None:
    with pytest.raises((ValueError, ArithmeticError)):
        to_number(text)
