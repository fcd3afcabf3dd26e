"""`run`: create, follow, and an exit code."""

from typing import Annotated, Any

import typer

from agentsessions.cli import newsession
from agentsessions.cli.connection import Connection
from agentsessions.cli.deadlines import deadline, to_seconds
from agentsessions.cli.failures import INTERRUPTED, Failure, QuietExit
from agentsessions.cli.following import events_of_new, teller
from agentsessions.cli.newsession import (
    ContextOption,
    InstructionsOption,
    ModelOption,
    NameOption,
    ProviderOption,
    SecondsOption,
    StepsOption,
    TokensOption,
)
from agentsessions.cli.options import TimeoutOption, connect
from agentsessions.cli.outcomes import await_phase, leave_by_outcome
from agentsessions.cli.terminal import note, say
from agentsessions.cli.verbs.create import create_object, how_to_go_on
from agentsessions.client.errors import AgentSessionsError
from agentsessions.client.values import FINAL_PHASES

Json = dict[str, Any]


def run(  # noqa: PLR0913, PLR0917  # the flags of a session; typer passes them by name
    ctx: typer.Context,
    goal: Annotated[str, typer.Argument(help="What the agent is to reach; @FILE reads it.")],
    is_followed: Annotated[
        bool, typer.Option("-f", "--follow", help="See it through: exit code 0 when it completed, 1 when not.")
    ] = False,
    timeout: TimeoutOption = "0",
    name: NameOption = None,
    model: ModelOption = None,
    provider: ProviderOption = None,
    instructions: InstructionsOption = None,
    context_text: ContextOption = None,
    max_steps: StepsOption = None,
    max_tokens: TokensOption = None,
    max_seconds: SecondsOption = None,
) -> None:
    """Create a session for a goal; with --follow see it through.

    Exit codes with --follow: 0 completed, 1 ended otherwise or deleted, 124 not over within --timeout, 130 after Ctrl-C
    (the session goes on).
    """
    seconds = to_seconds(timeout)
    spec = newsession.build_spec(
        goal=newsession.read_text(goal),
        model=model,
        provider=provider,
        instructions=instructions,
        context_text=context_text,
        max_steps=max_steps,
        max_tokens=max_tokens,
        max_seconds=max_seconds,
    )
    with deadline(seconds, f"the session was not over within {timeout}; it goes on"):
        _begin(connect(ctx), newsession.build_manifest(name, spec), is_followed=is_followed)


def _begin(connection: Connection, manifest: Json, *, is_followed: bool) -> None:
    made = create_object(connection, manifest)
    where = f"{made['metadata']['name']} -n {made['metadata']['namespace']}"
    say(f"agentsession/{made['metadata']['name']}")
    if not is_followed:
        note(how_to_go_on(made))
        return
    try:
        see_through(connection, made)
    except KeyboardInterrupt:
        note(f"\nthe session goes on; end it: kubectl agentsession cancel {where}")
        raise QuietExit(INTERRUPTED) from None


def see_through(connection: Connection, made: Json) -> None:
    """Tell what a session does until it is over; without the gateway, wait for its end alone."""
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]
    tell = teller(as_json=False)
    try:
        for event in events_of_new(connection, uid):
            tell(event)
    except (AgentSessionsError, Failure) as error:
        if isinstance(error, Failure) and error.exit_code != Failure.exit_code:
            raise
        note(f"cannot show what it does: {error}\nwaiting for its end")
    leave_by_outcome(await_phase(connection, name, FINAL_PHASES, uid))
