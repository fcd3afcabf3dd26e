"""`limits`: `show` and `set`."""

from typing import Annotated, Any

import typer

from agentsessions.cli.failures import Failure, UsageFailure
from agentsessions.cli.forms import print_object
from agentsessions.cli.kube import SESSIONS
from agentsessions.cli.newsession import SecondsOption, StepsOption, TokensOption
from agentsessions.cli.options import OutputOption, SessionArgument, connect
from agentsessions.cli.sessions import is_final, phase_of, status_of
from agentsessions.cli.terminal import money, print_table, say

MICRO = 1_000_000
COST = "maxCostMicroUSD"
ROWS = (
    ("steps", "maxSteps", "steps"),
    ("tokens", "maxTokens", "totalTokens"),
    ("tokens of one answer", "maxOutputTokens", ""),
    ("tool calls", "maxToolCalls", "toolCalls"),
    ("seconds of work", "timeoutSeconds", "activeSeconds"),
    ("cost", COST, "costMicroUSD"),
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
        (words, _shown(limit, usage.get(spent), ""), _shown(limit, limits.get(limit), "no limit"))
        for words, limit, spent in ROWS
    ]
    print_table(("WHAT", "SPENT", "LIMIT"), rows)


def _shown(limit: str, figure: int | None, otherwise: str) -> str:
    if figure is None:
        return otherwise
    return money(figure) or "$0" if limit == COST else str(figure)


@GROUP.command("set")
def set_limits(  # noqa: PLR0913, PLR0917  # typer passes them by name
    ctx: typer.Context,
    session: SessionArgument,
    steps: StepsOption = None,
    tokens: TokensOption = None,
    output_tokens: Annotated[
        int | None, typer.Option("--max-output-tokens", min=1, help="Output tokens of one answer at most.")
    ] = None,
    calls: Annotated[int | None, typer.Option("--max-tool-calls", min=1, help="Tool calls at most.")] = None,
    seconds: SecondsOption = None,
    cost: Annotated[float | None, typer.Option("--max-cost", min=0.000001, help="US dollars at most.")] = None,
    output: OutputOption = None,
) -> None:
    """Change what a session may spend; one that a limit paused goes on when it is raised."""
    given: dict[str, Any] = {
        "maxSteps": steps,
        "maxTokens": tokens,
        "maxOutputTokens": output_tokens,
        "maxToolCalls": calls,
        "timeoutSeconds": seconds,
        COST: None if cost is None else round(cost * MICRO),
    }
    limits = {name: value for name, value in given.items() if value is not None}
    if not limits:
        raise UsageFailure("there is nothing to set: give --max-steps, --max-tokens, --max-seconds or another limit")
    connection = connect(ctx)
    found = connection.session(session)
    if is_final(found):
        name = found["metadata"]["name"]
        raise Failure(f"session {name!r} is {phase_of(found)}, which is final: it spends nothing any more")
    meant = {"metadata": {"uid": found["metadata"]["uid"]}, "spec": {"limits": limits}}
    changed = connection.kube.patch(SESSIONS, connection.namespace, found["metadata"]["name"], meant)
    if output is not None:
        print_object(changed, output)
        return
    said = ", ".join(f"{name} {value}" for name, value in limits.items())
    say(f"agentsession/{found['metadata']['name']}: {said}")
