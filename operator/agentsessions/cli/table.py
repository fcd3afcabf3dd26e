"""Every verb: where it is, and what it does in one line. `--help` reads this alone, and loads no verb."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb."""

    name: str
    place: str
    """`module:function` below `agentsessions.cli.verbs`; a group of verbs is a `GROUP`."""
    summary: str
    """First sentence of the function's docstring."""


SECTIONS: Final[dict[str, tuple[Verb, ...]]] = {
    "Begin": (
        Verb("create", "create:create", "Create a session, from flags, a template or a file."),
        Verb("run", "run:run", "Create a session for a goal; with --follow see it through."),
        Verb("chat", "chat:chat", "Talk with a session, a new one or one that is there."),
    ),
    "See what there is": (
        Verb("list", "listing:list_sessions", "List sessions, those that need somebody first."),
        Verb("get", "get:get", "Show one session: where it is, why, and what to do next."),
        Verb("watch", "watch:watch", "Show sessions as they change, until Ctrl-C."),
        Verb("top", "top:top", "Show sessions, tokens, cost and queue, full screen."),
        Verb("ui", "ui:ui", "Open the web page in a browser, with your own rights, until Ctrl-C."),
        Verb("stats", "stats:stats", "Show totals by phase, type and role, and figures over a period."),
    ),
    "See what it did": (
        Verb("logs", "logs:logs", "Print what a session did; with -f follow it."),
        Verb("steps", "steps:steps", "List a session's steps with durations and tokens."),
        Verb("messages", "messages:messages", "List what was said to a session, and by it."),
        Verb("replay", "replay:replay", "Play a session again as it happened, faster or step by step."),
        Verb("diff", "diff:diff", "Compare what two sessions did."),
        Verb("verify", "verify:verify", "Check that a session's journal is whole and unchanged."),
        Verb("export", "archive:export_session", "Write a session with its whole journal to a file."),
        Verb("import", "archive:import_session", "Store an exported session in this cluster's journal."),
    ),
    "Steer it": (
        Verb("send", "send:send", "Say something to a session."),
        Verb("pause", "control:pause", "Pause a session after its present step; it keeps its state."),
        Verb("resume", "control:resume", "Let a paused session go on."),
        Verb("cancel", "control:cancel", "End a session for good."),
        Verb("shutdown", "control:shutdown", "End a session for good, saying how fast and why."),
        Verb("limits", "limits:GROUP", "Show or change what a session may spend."),
        Verb(
            "emergency-stop",
            "hold:emergency_stop",
            "Pause everything in a namespace, and let nothing start; or release it.",
        ),
    ),
    "Automate and repair": (
        Verb("wait", "wait:wait", "Wait until a session is in a phase."),
        Verb(
            "doctor", "doctor:doctor", "Check cluster, product, rights and the way to the gateway, and say what to do."
        ),
    ),
}
VERBS: Final = {verb.name: verb for section in SECTIONS.values() for verb in section}
