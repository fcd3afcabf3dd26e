"""`get`."""

from typing import Any

import typer

from agentsessions.api.reasons import ConditionType
from agentsessions.cli import sessions
from agentsessions.cli.forms import print_object
from agentsessions.cli.options import Output, OutputOption, SessionArgument, connect
from agentsessions.cli.sessions import Json, status_of
from agentsessions.cli.terminal import age, clean, count, money, say

LIMITS = (
    ("steps", "maxSteps", "steps"),
    ("tokens", "maxTokens", "totalTokens"),
    ("tool calls", "maxToolCalls", "toolCalls"),
    ("seconds", "timeoutSeconds", "activeSeconds"),
    ("cost", "maxCostMicroUSD", "costMicroUSD"),
)


def get(ctx: typer.Context, session: SessionArgument, output: OutputOption = None) -> None:
    """Show one session: where it is, why, and what to do next."""
    found = connect(ctx).session(session)
    if output in {Output.JSON, Output.YAML, Output.NAME}:
        print_object(found, output)
        return
    for label, value, style in describe(found, is_wide=output is Output.WIDE):
        mark = f"{label}:" if label.strip() else ""
        say(f"{mark}{value}" if value.startswith("\n") else f"{mark:<12}{value}", style)


def describe(session: Json, *, is_wide: bool) -> list[tuple[str, str, str | None]]:
    """Return the lines about a session: label, value, style."""
    status, spec, meta = status_of(session), session["spec"], session["metadata"]
    ready = sessions.condition(session, ConditionType.READY)
    phase = sessions.phase_of(session)
    reason = status.get("stopReason") or ready.get("reason")
    lines: list[tuple[str, str, str | None]] = [
        ("Session", f"{meta['namespace']}/{meta['name']}", "bold"),
        ("Phase", f"{phase}{f' ({reason})' if reason and reason != phase else ''}", None),
        ("Why", clean(str(ready.get("message") or "")), None),
        ("Next", sessions.next_step(session), None),
        ("Title", clean(str(spec.get("title") or "")), None),
        ("Goal", clean(str(spec.get("goal") or "")), None),
        ("Age", f"{age(meta['creationTimestamp'])}{_span(status)}", None),
        ("Spent", _spent(status), None),
        *_agents(status.get("agents") or [], is_gone=status.get("podsRemaining") == 0),
    ]
    if is_wide:
        lines += [("Uid", meta["uid"], None), ("Type", f"{spec.get('type')}, {spec.get('mode')}", None)]
        lines += [("Owner", str(spec.get("owner", "")), None), ("Digest", str(status.get("specDigest", "")), None)]
    if status.get("error"):
        lines.append(("Error", clean(f"{status['error'].get('code')}: {status['error'].get('message')}"), "red"))
    if status.get("result"):
        more = "\n… `kubectl agentsession steps` has the rest" if status.get("resultTruncated") else ""
        lines.append(("Result", "\n" + clean(str(status["result"])) + more, None))
    return [line for line in lines if line[1]]


def _agents(rows: list[dict[str, Any]], *, is_gone: bool) -> list[tuple[str, str, str | None]]:
    """Return the pod of the one agent, or a line for each of several."""
    if len(rows) < 2:  # noqa: PLR2004  # one agent
        return [("Pod", ", ".join(_pod(one, is_gone=is_gone) for one in rows), None)]
    lines: list[tuple[str, str, str | None]] = []
    for one in rows:
        spent = f"{count(one.get('steps', 0), 'step')}, {one.get('tokens', 0)} tokens"
        again = f", retried {count(one['retries'], 'time')}" if one.get("retries") else ""
        words = f"{one.get('name')}: {one.get('state')}, {spent}{again}, pod {_pod(one, is_gone=is_gone)}"
        lines.append(("Agents" if not lines else " ", words, None))
    return lines


def _pod(row: dict[str, Any], *, is_gone: bool) -> str:
    return f"{row.get('podName')} (epoch {row.get('epoch')}{', gone' if is_gone else ''})"


def _span(status: dict[str, Any]) -> str:
    seconds = (status.get("usage") or {}).get("activeSeconds")
    return f", {seconds} s of work" if seconds is not None else ""


def _spent(status: dict[str, Any]) -> str:
    usage, limits = status.get("usage") or {}, status.get("effective") or {}
    parts = []
    for words, limit, spent in LIMITS:
        most, used = limits.get(limit), usage.get(spent)
        if most is None and not used:
            continue
        shown = (money(used) or "$0", money(most)) if words == "cost" else (str(used or 0), str(most or ""))
        parts.append(f"{shown[0]}{f' of {shown[1]}' if most is not None else ''} {words}")
    return ", ".join(parts)
