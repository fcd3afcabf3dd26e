"""Why a pod does not start, in words that name the field to change.

Kubernetes says what it sees (an image, a claim, a node); whoever wrote the session needs to know which of its fields
that is.
"""

from typing import Final

from agentsessions.api.v1alpha1.agent import Agent
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.lifecycle.facts import PodView

ORDINARY_WAITS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Waiting reasons of every healthy start: not worth a status write."""
PULL_PAUSE: Final = "ImagePullBackOff"
PULL_FAILURES: Final = frozenset({"ErrImagePull", PULL_PAUSE, "InvalidImageName", "ErrImageNeverPull"})
UNSCHEDULABLE: Final = "Unschedulable"
CLAIM_WORD: Final = "PersistentVolumeClaim"
MOST_WORDS: Final = 600
"""Characters of what Kubernetes says that are shown; the rest of a message is for what to do."""


def is_same_wait(pod: PodView, shown: str) -> bool:
    """Tell whether the reason in status still tells the whole of it.

    The kubelet shows ErrImagePull for a moment at each try and ImagePullBackOff in between: one wait, not many.
    """
    return shown == PULL_PAUSE and pod.waiting_reason == "ErrImagePull"


def explain_wait(pod: PodView, agent: Agent, spec: SessionSpec) -> str:
    """Say why `pod` does not start and what to do about it."""
    words = (pod.message or pod.waiting_reason)[:MOST_WORDS]
    remedy = _remedy(pod, agent, spec)
    return f"pod {pod.name} does not start: {words}" + (f"; {remedy}" if remedy else "")


def explain_refusal(agent_name: str, words: str) -> str:
    """Say that the API server refuses an agent's pod, in its own `words`, and what to do about it."""
    return (
        f"the API server refuses the pod of agent {agent_name}: {words[:MOST_WORDS]}; "
        "it is asked again every few seconds: make room in the quota, or change the rule, that refuses it"
    )


def _remedy(pod: PodView, agent: Agent, spec: SessionSpec) -> str:
    if pod.waiting_reason in PULL_FAILURES:
        return _about_image(agent)
    if pod.waiting_reason != UNSCHEDULABLE:
        return ""
    if spec.workspace is not None and CLAIM_WORD.lower() in pod.message.lower():
        name = spec.workspace.storage_class_name
        wanted = f"storage class {name!r}" if name is not None else "default storage class"
        return (
            f"spec.workspace asks for {spec.workspace.size} of the {wanted}, which gives no volume: "
            "make that class provide one, or change spec.workspace.storageClassName"
        )
    if spec.placement is not None:
        return f"no node is free for agent {agent.name} where spec.placement wants it: make one fit, or change that"
    return (
        f"no node has room for agent {agent.name}: free or add a node, "
        "or create the session with lower spec.agents[].resources.requests"
    )


def _about_image(agent: Agent) -> str:
    if agent.image is None:
        return "the image of the runner is set by the installation: make it available to the nodes"
    return (
        f"the nodes cannot pull {agent.image!r}, which agent {agent.name} names in spec.agents[].image: make it "
        "available to them, or create the session with another image"
    )
