"""`limits`: `show` and `set`."""

from typing import Annotated, Any

import typer

from agentsessions.cli.failures import UsageFailure
from agentsessions.cli.forms import print_object
from agentsessions.cli.kube import SESSIONS
from agentsessions.cli.options import OutputOption, SessionArgument, connect
from agentsessions.cli.sessions import status_of
from agentsessions.cli.terminal import print_table, say

MICRO = 1_000_000
ROWS = (
    ("steps", "maxSteps", "steps"),
    ("tokens", "maxTokens", "totalTokens"),
    ("tokens of one answer", "maxOutputTokens", ""),
    ("tool calls", "maxToolCalls", "toolCalls"),
    ("seconds of work", "timeoutSeconds", "activeSeconds"),
    ("cost, in millionths of a dollar", "maxCostMicroUSD", "costMicroUSD"),
)

GROUP = typer.Typer(rich_markup_mode=None, add_completion=False, help="Show or change what a session may spend.")


@GROUP.command("show")
def show(ctx: typer.Context, session: SessionArgument, output: OutputOption = None) -> None:
    """Show what a session may spend, and what it has."""
    found = connect(ctx).session(session)
    if output is not None:
        print_object(found, output)
        return
    limits, usage = status_of(found).get("effective") or {}, status_of(found).get("usage") or {}
    rows = [
        (words, str(usage.get(spent, "") if spent else ""), str(limits.get(limit, "no limit")))
        for words, limit, spent in ROWS
    ]
    print_table(("WHAT", "SPENT", "LIMIT"), rows)


@GROUP.command("set")
def set_limits(  # noqa: PLR0913, PLR0917  # typer passes them by name
    ctx: typer.Context,
    session: SessionArgument,
    steps: Annotated[int | None, typer.Option("--max-steps", min=1, help="Model answers.")] = None,
    tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="Input plus output tokens.")] = None,
    output_tokens: Annotated[
        int | None, typer.Option("--max-output-tokens", min=1, help="Output tokens of one answer.")
    ] = None,
    calls: Annotated[int | None, typer.Option("--max-tool-calls", min=1, help="Tool calls.")] = None,
    seconds: Annotated[int | None, typer.Option("--max-seconds", min=1, help="Seconds of work.")] = None,
    cost: Annotated[float | None, typer.Option("--max-cost", min=0.000001, help="Cost in US dollars.")] = None,
    output: OutputOption = None,
) -> None:
    """Change what a session may spend; one that a limit paused goes on when it is raised."""
    given: dict[str, Any] = {
        "maxSteps": steps,
        "maxTokens": tokens,
        "maxOutputTokens": output_tokens,
        "maxToolCalls": calls,
        "timeoutSeconds": seconds,
        "maxCostMicroUSD": None if cost is None else round(cost * MICRO),
    }
    limits = {name: value for name, value in given.items() if value is not None}
    if not limits:
        raise UsageFailure("there is nothing to set: give --max-steps, --max-tokens, --max-seconds or another limit")
    connection = connect(ctx)
    found = connection.session(session)
    meant = {"metadata": {"uid": found["metadata"]["uid"]}, "spec": {"limits": limits}}
    changed = connection.kube.patch(SESSIONS, connection.namespace, found["metadata"]["name"], meant)
    if output is not None:
        print_object(changed, output)
        return
    said = ", ".join(f"{name} {value}" for name, value in limits.items())
    say(f"agentsession/{found['metadata']['name']}: {said}")
