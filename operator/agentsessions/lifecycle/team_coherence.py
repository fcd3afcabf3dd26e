"""What of a spec with several agents, after its template, does not fit together.

The rules of the CRD say the same of a spec as it is written (`api.v1alpha1.team.TEAM_RULES`); a template brings agents
that they do not see.
"""

from agentsessions.api.v1alpha1.session import SessionSpec, SessionType
from agentsessions.api.v1alpha1.team import Strategy

ORDERED = frozenset({Strategy.SEQUENTIAL, Strategy.PARALLEL})


def find_in_team(spec: SessionSpec) -> str | None:
    """Return the first thing that does not fit, with what to do about it; None when all does."""
    names = [agent.name for agent in spec.agents or ()]
    strategy = spec.coordination.strategy if spec.coordination else Strategy.SINGLE
    if len(names) <= 1:
        if strategy is Strategy.SINGLE:
            return None
        return f"spec.coordination.strategy {strategy} is for several agents, and there is one: leave it out"
    told = ", ".join(names)
    if strategy is Strategy.SINGLE:
        return (
            f"the session has several agents ({told}): create it with spec.coordination.strategy Sequential, Parallel, "
            "Handoff or Director"
        )
    if spec.type is SessionType.METRICS:
        return f"type Metrics runs its goal in rounds, with one agent, and there are {told}: use another type"
    if spec.conversation is not None and strategy in ORDERED:
        return f"several agents ({told}) hold a spec.conversation with the strategy Handoff or Director alone"
    return _find_in_members(spec, names, strategy)


def _find_in_members(spec: SessionSpec, names: list[str], strategy: Strategy) -> str | None:
    for agent in spec.agents or ():
        if agent.image is not None:
            return f"agent {agent.name} has an image of its own, and such an agent works alone: leave the others out"
        unknown = [name for name in agent.depends_on or () if name not in names or name == agent.name]
        if unknown:
            return f"agent {agent.name}: dependsOn names {unknown[0]!r}; other agents are {', '.join(names)}"
        if agent.depends_on and strategy not in ORDERED:
            return f"agent {agent.name}: dependsOn belongs to the strategies Sequential and Parallel, not {strategy}"
    return None
