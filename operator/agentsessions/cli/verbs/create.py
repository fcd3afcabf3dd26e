"""`create`."""

from typing import Annotated, Any

import typer

from agentsessions.cli import newsession
from agentsessions.cli.connection import Connection
from agentsessions.cli.failures import UsageFailure
from agentsessions.cli.forms import print_object
from agentsessions.cli.kube import SESSIONS
from agentsessions.cli.newsession import (
    ContextOption,
    InstructionsOption,
    ModelOption,
    ProviderOption,
    SecondsOption,
    StepsOption,
    TemplateOption,
    TitleOption,
    TokensOption,
)
from agentsessions.cli.options import Output, OutputOption, connect
from agentsessions.cli.terminal import note

Json = dict[str, Any]


def create(  # noqa: PLR0913, PLR0917  # the flags of a session; typer passes them by name
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Name; by default one that follows from the goal.")] = None,
    goal: Annotated[str | None, typer.Option("--goal", help="What the agent is to reach; @FILE reads it.")] = None,
    file: Annotated[
        str | None, typer.Option("-f", "--file", help="Manifest of one AgentSession, - is standard input; flags win.")
    ] = None,
    is_open: Annotated[bool, typer.Option("--open", help="A conversation: it stays open for messages.")] = False,
    template: TemplateOption = None,
    title: TitleOption = None,
    model: ModelOption = None,
    provider: ProviderOption = None,
    instructions: InstructionsOption = None,
    context_text: ContextOption = None,
    max_steps: StepsOption = None,
    max_tokens: TokensOption = None,
    max_seconds: SecondsOption = None,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Print the manifest and create nothing.")] = False,
    output: OutputOption = None,
) -> None:
    """Create a session, from flags, a template or a file.

    Prints the command that follows it.
    """
    if not (file or goal or template or is_open):
        raise UsageFailure("a session needs one of --goal TEXT, --open for a conversation, --template NAME and -f FILE")
    spec = newsession.build_spec(
        goal=newsession.read_text(goal),
        title=title,
        model=model,
        provider=provider,
        instructions=instructions,
        context_text=context_text,
        max_steps=max_steps,
        max_tokens=max_tokens,
        max_seconds=max_seconds,
        is_open=is_open,
        template=template,
    )
    manifest = newsession.build_manifest(name, spec, newsession.read_manifest(file) if file else None)
    _send(ctx, manifest, output, is_dry=is_dry)


def _send(ctx: typer.Context, manifest: Json, output: Output | None, *, is_dry: bool) -> None:
    if is_dry:
        print_object(manifest, output or Output.YAML)
        return
    made = create_object(connect(ctx), manifest)
    print_object(made, output)
    if output is None:
        note(how_to_go_on(made))


def how_to_go_on(made: Json) -> str:
    """Return the command that one wants next for a new session."""
    where = f"{made['metadata']['name']} -n {made['metadata']['namespace']}"
    if (made["spec"].get("conversation") or {}).get("open"):
        return f"talk with it: kubectl agentsession chat {where}"
    return f"follow it: kubectl agentsession logs -f {where}"


def create_object(connection: Connection, manifest: Json) -> Json:
    """Create a session; `-n` wins over the namespace of a manifest, as long as they do not disagree.

    Raises:
        UsageFailure: They do.
    """
    written = manifest["metadata"].get("namespace")
    asked = connection.given.namespace
    if written and asked and written != asked:
        raise UsageFailure(f"the manifest is for namespace {written!r} and -n says {asked!r}: leave one out")
    if written:
        connection.given.namespace = written
    return connection.kube.create(SESSIONS, connection.namespace, manifest)
