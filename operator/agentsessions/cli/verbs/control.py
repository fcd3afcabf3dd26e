"""`pause`, `resume`, `cancel`, `shutdown`: changes of what people want of sessions, made at the API server."""

from typing import Annotated, Any

import typer

from agentsessions.api.reasons import Phase
from agentsessions.cli.connection import Connection
from agentsessions.cli.deadlines import deadline, to_seconds
from agentsessions.cli.failures import Failure, UsageFailure
from agentsessions.cli.forms import print_object
from agentsessions.cli.kube import SESSIONS
from agentsessions.cli.options import Output, OutputOption, TimeoutOption, complete_session, connect
from agentsessions.cli.outcomes import await_phase
from agentsessions.cli.sessions import is_final, phase_of
from agentsessions.cli.terminal import say

Json = dict[str, Any]
SessionsArgument = Annotated[
    list[str],
    typer.Argument(metavar="SESSION...", help="Names of sessions, or @latest.", autocompletion=complete_session),
]
WaitOption = Annotated[bool, typer.Option("--wait", help="Wait until it is done.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why, for people; status shows it.")]
GOING_ON = frozenset(Phase) - {Phase.PAUSED, Phase.PAUSING}


def pause(
    ctx: typer.Context,
    session: SessionsArgument,
    is_immediate: Annotated[
        bool, typer.Option("--now", help="Break the present step off; it is played again on resume.")
    ] = False,
    is_awaited: WaitOption = False,
    timeout: TimeoutOption = "2m",
    output: OutputOption = None,
) -> None:
    """Pause a session after its present step; it keeps its state."""
    spec: Json = {"operatingMode": "Paused"}
    if is_immediate:
        spec["pausePolicy"] = {"boundary": "Immediate"}
    change(connect(ctx), session, spec, frozenset({Phase.PAUSED}) if is_awaited else None, timeout, output)


def resume(
    ctx: typer.Context,
    session: SessionsArgument,
    is_awaited: WaitOption = False,
    timeout: TimeoutOption = "2m",
    output: OutputOption = None,
) -> None:
    """Let a paused session go on."""
    change(connect(ctx), session, {"operatingMode": "Running"}, GOING_ON if is_awaited else None, timeout, output)


def cancel(
    ctx: typer.Context,
    session: SessionsArgument,
    reason: ReasonOption = None,
    is_awaited: WaitOption = False,
    timeout: TimeoutOption = "2m",
    output: OutputOption = None,
) -> None:
    """End a session for good."""
    how = {"shutdown": {"reason": reason}} if reason else {}
    spec = {"operatingMode": "Cancelled", **how}
    change(connect(ctx), session, spec, frozenset({Phase.CANCELLED}) if is_awaited else None, timeout, output)


def shutdown(  # noqa: PLR0913, PLR0917  # typer passes them by name
    ctx: typer.Context,
    session: SessionsArgument,
    grace: Annotated[str | None, typer.Option("--grace", help="Time that agents get to end by themselves.")] = None,
    is_forced: Annotated[bool, typer.Option("--force", help="Give them none.")] = False,
    reason: ReasonOption = None,
    is_awaited: WaitOption = False,
    timeout: TimeoutOption = "2m",
    output: OutputOption = None,
) -> None:
    """End a session for good, saying how fast and why."""
    if is_forced and grace is not None:
        raise UsageFailure("--force gives no time and --grace does: give one of them")
    seconds = 0 if is_forced else None if grace is None else int(to_seconds(grace))
    given = {"gracePeriodSeconds": seconds, "reason": reason}
    spec = {"operatingMode": "Cancelled", "shutdown": {key: value for key, value in given.items() if value is not None}}
    change(connect(ctx), session, spec, frozenset({Phase.CANCELLED}) if is_awaited else None, timeout, output)


def change(
    connection: Connection,
    names: list[str],
    spec: Json,
    awaited: frozenset[Phase] | None,
    timeout: str,
    output: Output | None,
) -> None:
    """Change sessions one after the other, and wait until they are as asked where that is wanted."""
    mode = spec["operatingMode"]
    seconds = to_seconds(timeout)
    for given in names:
        found = connection.session(given)
        name = found["metadata"]["name"]
        if is_final(found) and not (mode == "Cancelled" and phase_of(found) == Phase.CANCELLED):
            raise Failure(f"session {name!r} is {phase_of(found)}, which is final: it cannot become {mode} any more")
        meant = {"metadata": {"uid": found["metadata"]["uid"]}, "spec": spec}
        changed = connection.kube.patch(SESSIONS, connection.namespace, name, meant)
        if awaited is not None:
            with deadline(seconds, f"session {name!r} was not {mode} within {timeout}"):
                changed = await_phase(connection, name, awaited, found["metadata"]["uid"])
        if output is None:
            say(f"agentsession/{name}: asked to be {mode}, is {phase_of(changed)}")
        else:
            print_object(changed, output)
