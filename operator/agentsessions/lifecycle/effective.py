"""What a session really runs with: its spec, then its type and mode, then product defaults.

The schema defaults almost nothing, so that absent stays distinguishable from chosen; this one merge does the rest. What
a template says is in the spec already (`lifecycle.templates`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from agentsessions.api.kinds import BUILTINS, Rules, rules_of
from agentsessions.api.names import DEFAULT_AGENT
from agentsessions.api.v1alpha1.agent import Agent, AgentModel, AgentTool, Builtin, ProviderRef
from agentsessions.api.v1alpha1.life import Limits, OnLimit, PauseBoundary
from agentsessions.api.v1alpha1.session import MUTABLE_SPEC_FIELDS, SessionSpec
from agentsessions.api.v1alpha1.status import EffectiveLimits

DEFAULT_LIMITS: Final = EffectiveLimits(
    max_steps=10, max_tokens=200_000, max_output_tokens=4_000, max_tool_calls=100, timeout_seconds=120
)
DEFAULT_MAX_RETRIES: Final = 3
DEFAULT_INITIAL_BACKOFF_SECONDS: Final = 4
DEFAULT_MAX_BACKOFF_SECONDS: Final = 60
DEFAULT_TOOLS: Final = (Builtin.SHELL, Builtin.FILES, Builtin.SQL)
"""As far as type and mode allow them; Sql where there are data sources."""

DEFAULT_PAUSE_GRACE_SECONDS: Final = 60
DEFAULT_SHUTDOWN_GRACE_SECONDS: Final = 30
DEFAULT_IDLE_SECONDS: Final = 60
DEFAULT_MAX_HISTORY: Final = 50
LONGEST_GAP: Final = timedelta(seconds=60)
"""Between rounds a pod waits so long; for longer it is released."""

NOT_DIGESTED: Final = MUTABLE_SPEC_FIELDS | {"sessionId", "owner"}
"""Fields that change nothing in what an agent is asked; the limits in force stand in status beside the digest."""


@dataclass(frozen=True, slots=True)
class LimitPolicy:
    """What becomes of a session that reached a limit."""

    default: OnLimit = OnLimit.FAIL
    named: Mapping[str, OnLimit] = field(default_factory=dict)
    """By the words of `LimitName`, and `timeout`."""

    def of(self, limit: str) -> OnLimit:
        """Return what a limit leads to."""
        return self.named.get(limit, self.default)


@dataclass(frozen=True, slots=True)
class Effective:
    """A spec after defaults."""

    limits: EffectiveLimits
    on_limit: LimitPolicy
    pauses_at_once: bool
    """Whether a pause breaks off the step under way."""
    pause_grace: timedelta
    shutdown_grace: timedelta
    idle: timedelta
    """How long an epoch waits for a message."""
    max_history: int | None
    """Most messages shown to the model; None: all, where nobody talks."""
    max_retries: int
    initial_backoff: timedelta
    max_backoff: timedelta
    agents: tuple[Agent, ...]
    """Each with its model's provider and its tools filled in."""
    rules: Rules
    """What its type and mode allow."""


def resolve(spec: SessionSpec) -> Effective:
    """Return what `spec` means once product defaults fill what it leaves open."""
    retry, pause, shutdown, talk = spec.retry, spec.pause_policy, spec.shutdown, spec.conversation
    initial = retry.initial_backoff_seconds if retry else None
    longest = retry.max_backoff_seconds if retry else None
    wanted = retry.max_retries if retry else None
    rules = rules_of(spec.type, spec.mode)
    tools = _default_tools(spec, rules)
    return Effective(
        limits=_resolve_limits(spec.limits, rules),
        on_limit=_resolve_actions(spec.limits),
        pauses_at_once=pause is not None and pause.boundary is PauseBoundary.IMMEDIATE,
        pause_grace=_seconds(pause.grace_period_seconds if pause else None, DEFAULT_PAUSE_GRACE_SECONDS),
        shutdown_grace=_seconds(shutdown.grace_period_seconds if shutdown else None, DEFAULT_SHUTDOWN_GRACE_SECONDS),
        idle=_seconds(talk.idle_seconds if talk else None, DEFAULT_IDLE_SECONDS),
        max_history=(talk.max_history or DEFAULT_MAX_HISTORY) if talk else None,
        max_retries=DEFAULT_MAX_RETRIES if wanted is None else wanted,
        initial_backoff=timedelta(seconds=initial or DEFAULT_INITIAL_BACKOFF_SECONDS),
        max_backoff=timedelta(seconds=longest or DEFAULT_MAX_BACKOFF_SECONDS),
        agents=tuple(_resolve_agent(agent, tools) for agent in spec.agents or [Agent(name=DEFAULT_AGENT)]),
        rules=rules,
    )


def spec_digest(spec: SessionSpec, context_digest: str) -> str:
    """Return the SHA-256 (hex) of what the session's agents are asked, and with what.

    Covers the immutable part of the spec after defaults and `context_digest` (of referenced content, may be empty).
    It stays the same over pauses and changed limits.
    """
    body = {key: value for key, value in spec.to_json().items() if key not in NOT_DIGESTED}
    body["agents"] = [agent.to_json() for agent in resolve(spec).agents]
    body["contextDigest"] = context_digest
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _resolve_limits(limits: Limits | None, rules: Rules) -> EffectiveLimits:
    chosen = limits.model_dump(exclude_none=True, exclude={"on_limit"}) if limits else {}
    of_kind = {} if rules.max_steps is None else {"max_steps": rules.max_steps}
    return DEFAULT_LIMITS.model_copy(update=of_kind | chosen)


def _default_tools(spec: SessionSpec, rules: Rules) -> list[AgentTool]:
    """Return the tools of an agent that names none."""
    there = (tool for tool in DEFAULT_TOOLS if tool is not Builtin.SQL or spec.data_sources)
    return [AgentTool(builtin=tool) for tool in there if BUILTINS[tool] & rules.classes]


def _resolve_actions(limits: Limits | None) -> LimitPolicy:
    chosen = limits.on_limit if limits else None
    if chosen is None:
        return LimitPolicy()
    named = {name: OnLimit(str(action)) for name, action in chosen.to_json().items() if name != "default"}
    return LimitPolicy(chosen.default or OnLimit.FAIL, named)


def _seconds(chosen: int | None, default: int) -> timedelta:
    return timedelta(seconds=default if chosen is None else chosen)


def _resolve_agent(agent: Agent, default_tools: list[AgentTool]) -> Agent:
    model = agent.model or AgentModel()
    return agent.model_copy(
        update={
            "model": model.model_copy(update={"provider_ref": model.provider_ref or ProviderRef()}),
            "tools": default_tools if agent.tools is None else agent.tools,
        }
    )
