"""What fills a pod's volume with the files of another one before the agent starts: a container of the product's own."""

from copy import deepcopy
from typing import Any, Final

from agentsessions.api import names
from agentsessions.children.settings import PodSettings

CONTAINER: Final = "copy"
VOLUME: Final = "former"
RESOURCES: Final = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}


def add_copy(pod: dict[str, Any], claim: str, settings: PodSettings, *, is_other: bool = False) -> None:
    """Let a pod begin with a copy of what is on `claim`; done again, it changes nothing.

    Args:
        pod: The pod.
        claim: Whose files are copied.
        settings: What the installation gives.
        is_other: Whether it is another session's: what its runner keeps there for itself is not copied then.
    """
    flags = ["--without-private"] if is_other else []
    spec = pod["spec"]
    spec["initContainers"] = [
        {
            "name": CONTAINER,
            "image": settings.runner_image,
            "imagePullPolicy": settings.pull_policy,
            "command": ["agentsessions-copy", *flags, "--name", claim, names.FORMER_DIR, names.WORKSPACE_DIR],
            "resources": deepcopy(RESOURCES),
            "securityContext": deepcopy(spec["containers"][0]["securityContext"]),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": "workspace", "mountPath": names.WORKSPACE_DIR},
                {"name": VOLUME, "mountPath": names.FORMER_DIR, "readOnly": True},
            ],
        }
    ]
    spec["volumes"].append({"name": VOLUME, "persistentVolumeClaim": {"claimName": claim}})
