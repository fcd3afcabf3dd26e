"""What each namespace with sessions has once: a service account without rights, the gateway's CA, a network policy."""

from typing import Any, Final

from agentsessions.api import names

GATEWAY_PORT: Final = 8443
GATEWAY_LABELS: Final = {"app.kubernetes.io/name": "agentsessions", "app.kubernetes.io/component": "gateway"}
NAMESPACE_NAME_LABEL: Final = "kubernetes.io/metadata.name"


def build_service_account(namespace: str) -> dict[str, Any]:
    """Return the service account of agent pods: no role is ever bound to it."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(names.RUNNER_SERVICE_ACCOUNT, namespace),
        "automountServiceAccountToken": False,
    }


def build_ca(namespace: str, certificate: str) -> dict[str, Any]:
    """Return the copy of the gateway's CA (PEM) that agent pods mount."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(names.CA_CONFIG_MAP, namespace),
        "data": {"ca.crt": certificate},
    }


def build_network_policy(namespace: str, install_namespace: str) -> dict[str, Any]:
    """Return the policy of agent pods: nobody reaches them, and they reach the gateway alone."""
    gateway = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_NAME_LABEL: install_namespace}},
        "podSelector": {"matchLabels": GATEWAY_LABELS},
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(names.NETWORK_POLICY, namespace),
        "spec": {
            "podSelector": {"matchLabels": {names.LABEL_MANAGED_BY: names.MANAGER}},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"to": [gateway], "ports": [{"protocol": "TCP", "port": GATEWAY_PORT}]}],
        },
    }


def _metadata(name: str, namespace: str) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": {names.LABEL_MANAGED_BY: names.MANAGER}}
