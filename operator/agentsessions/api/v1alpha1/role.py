"""How a session works together with others of its namespace."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field
from pydantic.config import JsonDict

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.names import ObjectName

WILDCARD: Final = "*"
MOST_CHILD_SESSIONS: Final = 100
"""Of one director: each is a resource, and has a journal."""


class SessionRole(StrEnum):
    """Part that the session plays among others."""

    DIRECTOR = "Director"
    DEPARTMENT = "Department"
    OBSERVER = "Observer"
    WORKER = "Worker"


class DirectorRef(ApiModel):
    """A session with role Director in the same namespace."""

    name: ObjectName
    """Name of the session."""


class ChildSessions(ApiModel):
    """Sessions that a director's agents may start with the tool `start_session`."""

    max: Annotated[int, Field(ge=1, le=MOST_CHILD_SESSIONS)]
    """How many in all. What they may spend is taken out of this session's limits."""
    templates: (
        Annotated[
            list[Annotated[ObjectName, Field(max_length=63)]],
            Field(min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """AgentSessionTemplates of the namespace that they may start from. Who creates this session must be allowed to
    read them. Without a template a child has the agent that starts it, with its model and tools."""


SessionPattern = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9*]([a-z0-9.*-]*[a-z0-9*])?$")]
"""Name of a session; `*` stands for any characters, also for none."""
Capability = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._/-]*[A-Za-z0-9])?$")]

ROLE_RULES: Final[list[JsonDict]] = [
    cel(
        "(self.role == 'Observer') == has(self.monitors)",
        "role Observer needs spec.monitors, the sessions that it sees, and no other role takes them",
        field="monitors",
    ),
    cel(
        "self.role != 'Department' || (has(self.conversation) && has(self.conversation.open))",
        "role Department serves one task after the other: set spec.conversation.open to true",
    ),
    cel(
        "self.role in ['Department', 'Worker'] || (!has(self.directorRef) && !has(self.capabilities))",
        "spec.directorRef and spec.capabilities belong to the roles Department and Worker",
    ),
    cel(
        "!has(self.childSessions) || (self.role == 'Director' && self.mode == 'FullAutonomy' && "
        "self.type in ['Custom', 'Simulation'])",
        "spec.childSessions belongs to role Director in mode FullAutonomy, with type Custom or Simulation",
        field="childSessions",
    ),
    cel(
        "self.role != 'Director' || self.type != 'Metrics'",
        "role Director takes no type Metrics: its work ends with the answers of its departments, not with the time",
    ),
]
"""Rules of the spec about its role."""


def matches(pattern: str, name: str) -> bool:
    """Return whether a pattern of `spec.monitors` names a session. Linear in both, whatever the pattern is."""
    first, *others = pattern.split(WILDCARD)
    if not others:
        return name == pattern
    if not name.startswith(first):
        return False
    place = len(first)
    for part in others[:-1]:
        found = name.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return len(name) - len(others[-1]) >= place and name.endswith(others[-1])
