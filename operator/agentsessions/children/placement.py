"""Where a pod may run: what a session's place means in Kubernetes' words, and how pods are found by others' wishes.

A pod carries its session's labels under names of ours, which only the operator may give to pods. So a session finds the
pods of other sessions by the labels of these sessions, in its own namespace alone, and nobody else's pods.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from agentsessions.api import names
from agentsessions.api.v1alpha1.placement import Nearness, Place, SessionAffinity, Strictness, Toleration
from agentsessions.lifecycle.facts import SessionView

HOSTNAME: Final = "kubernetes.io/hostname"
KEPT_CHARACTERS: Final = 40
HASH_LENGTH: Final = 8
MOST_LABELS: Final = 64
"""Labels of a session that its pods carry, in the order of their keys."""
PREFERRED_WEIGHT: Final = 100


def label_key(key: str) -> str:
    """Return the name under which pods carry a label of their session."""
    readable = key.rpartition("/")[2][:KEPT_CHARACTERS]
    digest = hashlib.sha256(key.encode()).hexdigest()[:HASH_LENGTH]
    return f"{names.LABEL_OF_SESSION}{readable}-{digest}"


def build_labels(session_labels: Mapping[str, str]) -> dict[str, str]:
    """Return a session's labels as its pods carry them."""
    kept = sorted(session_labels.items())[:MOST_LABELS]
    return {label_key(key): value for key, value in kept}


def build_place(session: SessionView, place: Place | None) -> dict[str, Any]:
    """Return the fields of a pod's spec that say where it may run, but for tolerations."""
    if place is None:
        return {}
    spec: dict[str, Any] = {}
    if place.node_selector:
        spec["nodeSelector"] = dict(place.node_selector)
    if place.session_affinity:
        spec["affinity"] = _build_affinity(session, place.session_affinity)
    return spec


def build_tolerations(place: Place | None) -> list[dict[str, Any]]:
    """Return the tolerations that a session asks for."""
    return [_build_toleration(one) for one in (place.tolerations if place is not None else None) or ()]


def _build_toleration(toleration: Toleration) -> dict[str, Any]:
    return dict(toleration.to_json())


def _build_affinity(session: SessionView, wishes: list[SessionAffinity]) -> dict[str, Any]:
    affinity: dict[str, Any] = {}
    for wish in wishes:
        kind = "podAntiAffinity" if wish.nearness is Nearness.APART else "podAffinity"
        terms, term = affinity.setdefault(kind, {}), _build_term(session, wish)
        if wish.strictness is Strictness.REQUIRED:
            terms.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)
        else:
            weighted = {"weight": PREFERRED_WEIGHT, "podAffinityTerm": term}
            terms.setdefault("preferredDuringSchedulingIgnoredDuringExecution", []).append(weighted)
    return affinity


def _build_term(session: SessionView, wish: SessionAffinity) -> dict[str, Any]:
    """Return one term. Without namespaces it speaks of the pod's own; the session's own pods are no others."""
    wanted = {label_key(key): value for key, value in sorted(wish.selector.match_labels.items())}
    others = {"key": names.LABEL_SESSION_UID, "operator": "NotIn", "values": [session.uid]}
    return {
        "labelSelector": {
            "matchLabels": {names.LABEL_MANAGED_BY: names.MANAGER, **wanted},
            "matchExpressions": [others],
        },
        "topologyKey": wish.topology_key or HOSTNAME,
    }
