"""The session that a director's agent starts. It may nothing that the director may not.

References are those of the director, or a template that the director names: who created the director was asked for the
right to each. So the operator, which may read them all, lends its rights to nobody.
"""

from collections.abc import Mapping
from typing import Any, Final

from agentsessions.api import names
from agentsessions.api.child_sessions import ChildRequest
from agentsessions.api.v1alpha1.role import SessionRole
from agentsessions.children.owner import SESSION_KIND, child_labels, owner_reference
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import SessionView

INHERITED: Final = ("type", "mode", "owner", "priority", "policyRef", "placement")
"""Fields of the director that its children have, whatever they start from."""
OF_THE_AGENT: Final = ("dataSources", "retry", "pausePolicy", "shutdown")
"""Fields that go with the director's own agent; a template has its own."""
NOT_THE_CHILDS: Final = frozenset({"instructions", "dependsOn"})
"""What of the agent that starts a child is about the director: the goal says all that the child needs to know."""


def build_session(director: SessionView, labels: Mapping[str, str], request: ChildRequest) -> dict[str, Any]:
    """Return the AgentSession that was asked for. Its name follows from the call, so that a second try makes no second.

    Args:
        director: With its spec over its template's.
        labels: The director's: policies that select it by them bind its children too.
        request: What was asked for.
    """
    return {
        "apiVersion": names.API_VERSION,
        "kind": SESSION_KIND,
        "metadata": {
            "name": request.name,
            "namespace": director.namespace,
            "labels": {**labels, **child_labels(director)},
            "ownerReferences": [owner_reference(director)],
        },
        "spec": _build_spec(director, request),
    }


def _build_spec(director: SessionView, request: ChildRequest) -> dict[str, Any]:
    own = director.spec.to_json()
    spec: dict[str, Any] = {name: own[name] for name in INHERITED if name in own}
    spec["role"] = SessionRole.WORKER.value
    spec["directorRef"] = {"name": director.name}
    spec["limits"] = request.limits.to_json()
    if request.goal is not None:
        spec["goal"] = request.goal
    if request.template is not None:
        return {**spec, "templateRef": {"name": request.template}}
    agents = (agent.to_json() for agent in resolve(director.spec).agents if agent.name == request.agent)
    spec["agents"] = [{name: value for name, value in a.items() if name not in NOT_THE_CHILDS} for a in agents]
    return spec | {name: own[name] for name in OF_THE_AGENT if name in own}
