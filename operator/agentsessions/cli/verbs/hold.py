"""`emergency-stop`."""

from typing import Annotated, Any

import typer

from agentsessions.cli.kube import QUOTAS, new_object
from agentsessions.cli.options import connect
from agentsessions.cli.terminal import clean, note, say

QUOTA = "emergency-stop"
Json = dict[str, Any]


def emergency_stop(
    ctx: typer.Context,
    reason: Annotated[str | None, typer.Option("--reason", help="Why, for people; sessions show it.")] = None,
    is_released: Annotated[bool, typer.Option("--release", help="Let everything go on.")] = False,
) -> None:
    """Pause everything in a namespace, and let nothing start; or release it.

    It sets `hold` in the SessionQuota `emergency-stop` of the namespace.
    """
    connection = connect(ctx)
    namespace, kube = connection.namespace, connection.kube
    spec: Json = {"hold": not is_released, "holdReason": None if is_released else reason}
    if kube.find(QUOTAS, namespace, QUOTA) is not None:
        kube.patch(QUOTAS, namespace, QUOTA, {"spec": spec})
    elif not is_released:
        given = {key: value for key, value in spec.items() if value is not None}
        kube.create(QUOTAS, namespace, new_object(QUOTAS, QUOTA, given))
    held = [one for one in kube.list_objects(QUOTAS, namespace)[0] if one["spec"].get("hold")]
    if not is_released:
        say(f"namespace {namespace} is held: what runs is being paused, nothing starts", "bold yellow")
        note(f"release it: kubectl agentsession emergency-stop --release -n {namespace}")
    elif others := [one["metadata"]["name"] for one in held if one["metadata"]["name"] != QUOTA]:
        say(f"namespace {namespace} is still held by SessionQuota {clean(', '.join(others))}", "yellow")
    else:
        say(f"namespace {namespace} is released: what was paused by the hold goes on")
