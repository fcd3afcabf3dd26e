"""Several agents in one session: who is due, what each is told, and who shares a pod. Pure.

An agent is due while it has something to do; then it is to have a pod, and otherwise none. The journal keeps what
`Progress` holds, and asks `find_due` at each change; before it knows the session, all that is known is its spec.

With Handoff one agent works at a time. So those that ask for no container of their own share one pod, which has the
epochs, the volume and the name of the first of them: their host.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from agentsessions.api.v1alpha1.agent import Agent
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.team import OnFailure, Strategy

DEFAULT_MAX_HANDOFFS: Final = 8


@dataclass(frozen=True, slots=True)
class Member:
    """One agent, and whose answers it needs before it begins."""

    name: str
    after: tuple[str, ...] = ()
    host: str = ""
    """Whose pod it plays in; empty: its own."""


@dataclass(frozen=True, slots=True)
class Team:
    """The agents of a session in the order in which they work, where order matters."""

    strategy: Strategy
    members: tuple[Member, ...]
    max_handoffs: int = DEFAULT_MAX_HANDOFFS
    goes_on: bool = False
    """Whether the session goes on without an agent that failed."""

    def can_spare(self, name: str) -> bool:
        """Return whether the session goes on without this agent."""
        return self.goes_on and not (self.strategy is Strategy.DIRECTOR and name == self.first)

    @property
    def first(self) -> str:
        """The one that begins; with Director the director."""
        return self.members[0].name

    def member(self, name: str) -> Member:
        """Return the agent of that name."""
        return next(member for member in self.members if member.name == name)

    def host_of(self, name: str) -> str:
        """Return whose pod an agent plays in; that of nobody else when the team has no such agent."""
        return next((member.host for member in self.members if member.name == name), "") or name

    def group_of(self, name: str) -> tuple[str, ...]:
        """Return who shares a pod with an agent, itself included."""
        host = self.host_of(name)
        return tuple(member.name for member in self.members if self.host_of(member.name) == host)


@dataclass(frozen=True, slots=True)
class Progress:
    """What became of the work so far."""

    done: frozenset[str] = frozenset()
    """Agents that answered their part, with Sequential and Parallel."""
    floor: str = ""
    """Who has the conversation, with Handoff; empty: nobody was given it yet."""
    tasked: frozenset[str] = frozenset()
    """Agents with a task that is not answered, with Director."""
    is_over: bool = False
    """Whether the session has its final answer."""


def team_of(spec: SessionSpec) -> Team | None:
    """Return the agents of a session as a team; None for one agent."""
    agents, how = spec.agents or [], spec.coordination
    if how is None or len(agents) < 2:  # noqa: PLR2004  # one agent is no team
        return None
    most = how.max_handoffs or DEFAULT_MAX_HANDOFFS
    goes_on = how.on_failure is OnFailure.CONTINUE
    return Team(how.strategy, _members_of(agents, how.strategy), most, goes_on)


def _members_of(agents: Sequence[Agent], strategy: Strategy) -> tuple[Member, ...]:
    sharing = find_sharing(agents) if strategy is Strategy.HANDOFF else ()
    members = tuple(
        Member(agent.name, tuple(agent.depends_on or ()), sharing[0] if agent.name in sharing else "")
        for agent in agents
    )
    if strategy is not Strategy.SEQUENTIAL or find_cycle(agents) is not None:
        return members
    ordered = _in_order(members)
    former = ("", *(member.name for member in ordered))
    return tuple(
        member if member.after or index == 0 else Member(member.name, (former[index],))
        for index, member in enumerate(ordered)
    )


def find_sharing(agents: Sequence[Agent]) -> tuple[str, ...]:
    """Return the agents that one container will do for: they ask for no image, no resources, and no other env.

    An env that all agents of the session have, as from a template, is none of their own.
    """
    first = agents[0].env
    common = first if all(agent.env == first for agent in agents) else None
    return tuple(
        agent.name
        for agent in agents
        if agent.image is None and agent.resources is None and (agent.env is None or agent.env == common)
    )


def _in_order(members: Sequence[Member]) -> list[Member]:
    """Put each behind those that it depends on, and else in the order of the list."""
    ordered: list[Member] = []
    while len(ordered) < len(members):
        known = {member.name for member in ordered}
        ordered.append(next(m for m in members if m.name not in known and known.issuperset(m.after)))
    return ordered


def find_cycle(agents: Sequence[Agent]) -> tuple[str, ...] | None:
    """Return agents that wait for each other, each for the next and the last for the first; None when none do."""
    after = {agent.name: agent.depends_on or [] for agent in agents}
    left = dict(after)
    while free := [name for name, needed in left.items() if not left.keys() & set(needed)]:
        for name in free:
            del left[name]
    if not left:
        return None
    walked = [next(iter(left))]
    while (following := next(name for name in after[walked[-1]] if name in left)) not in walked:
        walked.append(following)
    return tuple(walked[walked.index(following) :])


def find_due(team: Team, progress: Progress) -> tuple[str, ...]:
    """Return the agents that have something to do now, in the order of the team."""
    if progress.is_over:
        return ()
    waiting = [member for member in team.members if member.name not in progress.done]
    match team.strategy:
        case Strategy.SEQUENTIAL:
            return tuple(member.name for member in waiting[:1])
        case Strategy.PARALLEL:
            return tuple(member.name for member in waiting if progress.done.issuperset(member.after))
        case Strategy.HANDOFF:
            return (progress.floor or team.first,)
        case Strategy.DIRECTOR:
            busy = {team.first, *progress.tasked}
            return tuple(member.name for member in team.members if member.name in busy)
        case Strategy.SINGLE:
            return (team.first,)
        case _:
            assert_never(team.strategy)


def find_listener(team: Team, progress: Progress) -> str:
    """Return who takes messages that people send: the one that answers for the session now; empty when none does."""
    return next(iter(find_due(team, progress)), "")


def shutdown_rank(team: Team, name: str) -> int:
    """Return when an agent is ended in an orderly shutdown: those of the highest rank first.

    Who depends on others ends before them, and who works for the director before the director.
    """
    if team.strategy is Strategy.DIRECTOR:
        return int(name != team.first)
    ranks: dict[str, int] = {}
    for member in _in_order(team.members):
        ranks[member.name] = 1 + max((ranks[other] for other in member.after), default=-1)
    return ranks.get(name, 0)


def find_last(team: Team) -> tuple[str, ...]:
    """Return the agents for whose answer no other waits: together they are the session's result."""
    needed = {other for member in team.members for other in member.after}
    return tuple(member.name for member in team.members if member.name not in needed)


def tell_answers(answers: Mapping[str, str]) -> str:
    """Return what an agent is told of those before it: one text alone, several under their names."""
    if len(answers) == 1:
        return next(iter(answers.values()))
    return join_answers(answers)


def join_answers(answers: Mapping[str, str]) -> str:
    """Return answers under the names of their agents, in the order given."""
    return "\n\n".join(f"## {name}\n\n{text}" for name, text in answers.items())
