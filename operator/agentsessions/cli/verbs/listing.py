"""`list`."""

from typing import Annotated

import typer

from agentsessions.cli import sessions
from agentsessions.cli.failures import UsageFailure
from agentsessions.cli.forms import print_data, print_object
from agentsessions.cli.kube import SESSIONS
from agentsessions.cli.options import EverywhereOption, Output, OutputOption, connect
from agentsessions.cli.phases import complete_phase, to_phase
from agentsessions.cli.sessions import Json
from agentsessions.cli.terminal import note, print_table


def list_sessions(  # typer passes them by name
    ctx: typer.Context,
    is_everywhere: EverywhereOption = False,
    phase: Annotated[
        list[str] | None, typer.Option("--phase", help="Only in this phase; repeatable.", autocompletion=complete_phase)
    ] = None,
    selector: Annotated[str | None, typer.Option("-l", "--selector", help="Only with these labels.")] = None,
    sort: Annotated[str, typer.Option("--sort", help="need, age, name, tokens or cost.")] = "need",
    output: OutputOption = None,
) -> None:
    """List sessions, those that need somebody first.

    Stalled ones, those that wait for a decision, at a limit, failed; then paused, running, and those that are over.
    """
    if sort not in sessions.SORTS:
        raise UsageFailure(f"--sort {sort}: sort by {', '.join(sessions.SORTS)}")
    wanted = {to_phase(word) for word in phase or ()}
    connection = connect(ctx)
    namespace = None if is_everywhere else connection.namespace
    labels = {"labelSelector": selector} if selector else {}
    found, version = connection.kube.list_objects(SESSIONS, namespace, **labels)
    chosen = [one for one in found if not wanted or sessions.phase_of(one) in wanted]
    ordered = sessions.needs_somebody_first(chosen)
    if sort != "need":
        ordered = sorted(ordered, key=sessions.SORTS[sort], reverse=sort == "age")
    if not ordered and output in {None, Output.WIDE}:
        which = "such sessions" if wanted or selector else "sessions"
        note(f"no {which} {'anywhere' if namespace is None else f'in namespace {namespace}'}")
        if namespace is not None and connection.kube.lacks_namespace(namespace):
            note(f"there is no namespace {namespace}: choose another with -n, or see all sessions with -A")
        return
    print_sessions(ordered, version, output, with_namespace=is_everywhere)


def print_sessions(found: list[Json], version: str, output: Output | None, *, with_namespace: bool) -> None:
    """Print a list in the form that was asked for."""
    kind = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}}
    if print_data({**kind, "items": found}, output):
        return
    if output is Output.NAME:
        for one in found:
            print_object(one, output)
    else:
        headers = sessions.WIDE_HEADERS if output is Output.WIDE else sessions.HEADERS
        rows = (sessions.row(one, is_wide=output is Output.WIDE, with_namespace=with_namespace) for one in found)
        print_table((("NAMESPACE",) if with_namespace else ()) + headers, rows, is_wide=output is Output.WIDE)
