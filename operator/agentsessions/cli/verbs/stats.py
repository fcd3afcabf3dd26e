"""`stats`."""

import re
from datetime import timedelta
from typing import Annotated

import typer

from agentsessions.cli.failures import UsageFailure
from agentsessions.cli.forms import print_data
from agentsessions.cli.options import DataOption, EverywhereOption, connect
from agentsessions.cli.terminal import money, print_table, say, short
from agentsessions.client.decode import encode
from agentsessions.client.figures import Metrics, Stats

ALL_NAMESPACES = "*"


def stats(
    ctx: typer.Context,
    is_everywhere: EverywhereOption = False,
    period: Annotated[str, typer.Option("--period", help="Such as 24h, 7d, 4w.")] = "7d",
    output: DataOption = None,
) -> None:
    """Show totals by phase, type and role, and figures over a period."""
    if re.fullmatch(r"[1-9]\d{0,3}[mhdw]", period) is None:
        raise UsageFailure(f"--period {period}: write a number and m, h, d or w, such as 7d")
    connection = connect(ctx)
    namespace = ALL_NAMESPACES if is_everywhere else connection.namespace
    now = connection.gateway.stats(namespace=namespace)
    then = connection.gateway.metrics(period, namespace=namespace)
    if print_data({"stats": encode(now), "metrics": encode(then)}, output):
        return
    where = "all namespaces" if is_everywhere else f"namespace {namespace}"
    say(f"{now.total} sessions in {where}", "bold")
    print_table(("WHAT", "SESSIONS"), _counts(now))
    say(f"\nin the last {period}", "bold")
    print_table(("WHAT", "FIGURE"), _figures(now, then))


def _counts(now: Stats) -> list[tuple[str, str]]:
    groups = (("phase", now.by_phase), ("type", now.by_type), ("role", now.by_role))
    return [(f"{group} {name}", str(count)) for group, counts in groups for name, count in sorted(counts.items())]


def _figures(now: Stats, then: Metrics) -> list[tuple[str, str]]:
    duration = then.average_duration_milliseconds
    uptime = now.average_uptime_seconds
    return [
        ("sessions created", str(then.sessions)),
        ("of them finished", str(then.finished)),
        ("success rate", "" if then.success_rate is None else f"{then.success_rate:.0%}"),
        ("average duration", "" if duration is None else short(timedelta(milliseconds=duration))),
        ("tokens", str(then.total_tokens)),
        ("cost", money(then.cost_micro_usd) or "$0"),
        ("average uptime now", "" if uptime is None else short(timedelta(seconds=uptime))),
        ("answers given", str(now.processed_tasks)),
    ]
