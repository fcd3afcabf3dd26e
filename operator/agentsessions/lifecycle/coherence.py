"""What of a spec, after its template, contradicts its type and mode.

The CRD's rules see less: neither a template nor the table of types and modes.
"""

from itertools import chain
from typing import Final

from agentsessions.api.kinds import BUILTINS, ToolClass, rules_of
from agentsessions.api.v1alpha1.agent import Agent, Builtin
from agentsessions.api.v1alpha1.life import OnLimit
from agentsessions.api.v1alpha1.session import SessionMode, SessionSpec, SessionType
from agentsessions.api.v1alpha1.source import SourceWorkspace
from agentsessions.lifecycle.team_coherence import find_in_team


def find_contradiction(spec: SessionSpec) -> str | None:
    """Return the first thing that does not fit, with what to do about it; None when all does."""
    found = (problem for check in CHECKS if (problem := check(spec)) is not None)
    agents = (f"agent {agent.name}: {why}" for agent in spec.agents or () if (why := _find_in_agent(spec, agent)))
    return next(chain(found, agents), None)


def _find_in_goal(spec: SessionSpec) -> str | None:
    if spec.goal is not None or spec.replay is not None or (spec.conversation and spec.conversation.open):
        return None
    return (
        "spec.goal is not set and spec.conversation.open is not true: there is nothing to do; create the session "
        "with one of them"
    )


def _find_in_type(spec: SessionSpec) -> str | None:
    if spec.type is SessionType.POLICY and spec.policy_ref is None:
        return (
            "type Policy needs spec.policyRef, the policy whose violations it is to list, and neither the session nor "
            "its template has one: create the session with it, or add it to the template"
        )
    if spec.conversation is not None and spec.type in {SessionType.METRICS, SessionType.AUDIT}:
        return f"type {spec.type} takes no spec.conversation: leave it out"
    on_limit = spec.limits and spec.limits.on_limit
    if spec.type is SessionType.AUDIT and on_limit and OnLimit.COMPLETE in on_limit.to_json().values():
        return "an audit is complete with its last answer alone: let limits.onLimit be Fail or Pause"
    return None


def _find_in_mode(spec: SessionSpec) -> str | None:
    if spec.mode is not SessionMode.QUERY:
        return None
    if not spec.data_sources:
        return "mode Query needs spec.dataSources: they are all that its agents can read"
    if spec.context is not None and spec.context.files:
        return "mode Query has no tool that reads files: name them in spec.dataSources, or use mode Analysis"
    return None


def _find_in_source(spec: SessionSpec) -> str | None:
    is_copied = spec.source is not None and spec.source.workspace is SourceWorkspace.COPY
    if not is_copied or spec.workspace is not None:
        return None
    return "spec.source.workspace Copy needs spec.workspace, a volume to copy to: name one, or let it be Empty"


def _find_in_agent(spec: SessionSpec, agent: Agent) -> str | None:
    rules, word = rules_of(spec.type, spec.mode), _word(spec)
    if agent.image is not None and rules.holds_back:
        return (
            f"{word} allows it {_told(rules.classes)} alone, and nothing holds an image of your own to that: leave "
            "image out, or use mode FullAutonomy"
        )
    for tool in agent.tools or ():
        if tool.builtin is Builtin.SQL and not spec.data_sources:
            return "tool Sql needs spec.dataSources: name some, or leave the tool out"
        if tool.builtin is not None and not BUILTINS[tool.builtin] & rules.classes:
            return f"tool {tool.builtin} is not one that {word} allows ({_told(rules.classes)}): leave it out"
    return None


CHECKS: Final = (_find_in_goal, _find_in_type, _find_in_mode, _find_in_source, find_in_team)


def _word(spec: SessionSpec) -> str:
    """Return which of type and mode to name: that which holds back."""
    is_mode = spec.mode is not SessionMode.FULL_AUTONOMY
    return f"mode {spec.mode}" if is_mode else f"type {spec.type}"


def _told(classes: frozenset[ToolClass]) -> str:
    return ", ".join(sorted(classes))
