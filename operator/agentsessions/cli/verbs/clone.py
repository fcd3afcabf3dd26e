"""`clone` and `rerun`: sessions that are made from others."""

from typing import Annotated, Any

import typer

from agentsessions.api.cloning import clone_spec, merge, replay_spec
from agentsessions.cli import newsession
from agentsessions.cli.connection import Connection
from agentsessions.cli.failures import UsageFailure
from agentsessions.cli.forms import print_object
from agentsessions.cli.newsession import InstructionsOption, ModelOption, ProviderOption, StepsOption, TitleOption
from agentsessions.cli.options import Output, OutputOption, RecordArgument, connect
from agentsessions.cli.terminal import note
from agentsessions.cli.verbs.create import create_object, how_to_go_on
from agentsessions.client.values import Session

Json = dict[str, Any]
NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Name of the new one; by default one that follows from the old.")
]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Print the manifest and create nothing.")]


def clone(  # noqa: PLR0913, PLR0917  # the flags of a session; typer passes them by name
    ctx: typer.Context,
    session: RecordArgument,
    name: NameArgument = None,
    at_step: Annotated[int | None, typer.Option("--at-step", min=1, help="Take over so many steps only.")] = None,
    is_reset: Annotated[bool, typer.Option("--reset", help="Take over the spec and no history.")] = False,
    goal: Annotated[str | None, typer.Option("--goal", help="Another goal, said next; @FILE reads it.")] = None,
    title: TitleOption = None,
    model: ModelOption = None,
    provider: ProviderOption = None,
    instructions: InstructionsOption = None,
    max_steps: StepsOption = None,
    is_dry: DryOption = False,
    output: OutputOption = None,
) -> None:
    """Create a session that goes on from another one, or forks it at a step.

    It has the other one's spec, with what the flags say on top, and its conversation. The other one may be over, or
    deleted.
    """
    if is_reset and at_step is not None:
        raise UsageFailure("--reset takes over no step: leave out --at-step")
    flags = newsession.build_spec(goal=newsession.read_text(goal), title=title, max_steps=max_steps)
    agent = newsession.build_spec(model=model, provider=provider, instructions=instructions)
    connection = connect(ctx)
    found = connection.gateway.get(connection.name_of(session))
    wanted: Json = {"sessionRef": {"name": found.name, "uid": found.uid}}
    if at_step is not None:
        wanted["atStep"] = at_step
    if is_reset:
        wanted["history"] = "Reset"
    spec = merge(_with_agent(clone_spec(found.spec, wanted), agent), flags)
    _send(connection, build_from(found, name, spec), is_dry=is_dry, output=output)


def rerun(  # noqa: PLR0913, PLR0917  # the flags of a replay; typer passes them by name
    ctx: typer.Context,
    session: RecordArgument,
    name: NameArgument = None,
    is_live: Annotated[bool, typer.Option("--live", help="Buy answers anew, and run all tools.")] = False,
    runs_tools: Annotated[
        bool, typer.Option("--run-tools", help="Run tools without effects outside of the agent's pod.")
    ] = False,
    until: Annotated[int | None, typer.Option("--until", min=1, help="Last step to do again.")] = None,
    model: ModelOption = None,
    provider: ProviderOption = None,
    instructions: InstructionsOption = None,
    is_dry: DryOption = False,
    output: OutputOption = None,
) -> None:
    """Do a session once more, with recorded answers, and tell what differs.

    With --live answers are bought anew. What differs is the new session's result; `diff` shows all of it.
    """
    if is_live and runs_tools:
        raise UsageFailure("--live runs all tools: leave out --run-tools")
    agent = newsession.build_spec(model=model, provider=provider, instructions=instructions)
    connection = connect(ctx)
    found = connection.gateway.get(connection.name_of(session))
    wanted: Json = {"of": {"name": found.name, "uid": found.uid}, "mode": "Live" if is_live else "Recorded"}
    if runs_tools:
        wanted["tools"] = "RunInternal"
    if until is not None:
        wanted["untilStep"] = until
    spec = _with_agent(replay_spec(found.spec, wanted), agent)
    _send(connection, build_from(found, name, spec), is_dry=is_dry, output=output)


def _with_agent(spec: Json, flags: Json) -> Json:
    """Return a spec whose one agent is as the flags say.

    Raises:
        UsageFailure: It has several, and flags do not say which they mean.
    """
    if not flags:
        return spec
    agents = spec.get("agents") or [{}]
    if len(agents) > 1:
        raise UsageFailure("the session has several agents: take --dry-run, and change the manifest")
    (said,) = flags["agents"]
    name = agents[0].get("name", said["name"])
    return {**spec, "agents": [merge(agents[0], {**said, "name": name})]}


def build_from(found: Session, name: str | None, spec: Json) -> Json:
    """Return the manifest of a session that is made from another one."""
    manifest = newsession.build_manifest(name or newsession.name_from(found.name), spec)
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": found.namespace}}


def _send(connection: Connection, manifest: Json, *, is_dry: bool, output: Output | None) -> None:
    if is_dry:
        print_object(manifest, output or Output.YAML)
        return
    made = create_object(connection, manifest)
    print_object(made, output)
    if output is None:
        note(how_to_go_on(made))
