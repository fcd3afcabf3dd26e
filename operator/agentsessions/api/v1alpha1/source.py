"""spec.source and spec.replay: a session that begins with what another one did, or does it once more."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.names import ObjectName


class SessionRef(ApiModel):
    """Another session of the namespace, of which the resource may be gone: the journal keeps what it did."""

    name: ObjectName
    """Its name. Without a uid it is the newest other session of that name."""
    uid: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")] | None = None
    """Which of several sessions that had the name, for example one that was deleted."""


class SourceHistory(StrEnum):
    """What of the other session's conversation is taken over."""

    COPY = "Copy"
    RESET = "Reset"


class SourceWorkspace(StrEnum):
    """What of the other session's workspace is taken over."""

    COPY = "Copy"
    EMPTY = "Empty"


class Source(ApiModel):
    """The session that this one was cloned or forked from. Nothing of its spec is taken over."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!(has(self.atStep) && has(self.history) && self.history == 'Reset')",
                    "atStep says how much is copied: leave it out, or set history to Copy",
                )
            ]
        }
    )

    session_ref: SessionRef
    """The session. Who creates the resource must be allowed to read its messages."""
    at_step: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """How many completed steps are copied, counted over all agents in the order in which they completed. Default: all
    that there are when this session is accepted."""
    history: SourceHistory | None = None
    """Copy (default): the agents go on from there, and a goal that differs from the copied one is said to them next.
    Reset: they begin anew, and the journal only names the source."""
    workspace: SourceWorkspace | None = None
    """Empty (default): the workspace begins empty. Copy: it begins with the files of the other session's, as they are
    when this one starts; that session must have no pod, and both need spec.workspace."""


class ReplayMode(StrEnum):
    """Where the model's answers come from."""

    RECORDED = "Recorded"
    LIVE = "Live"


class ReplayTools(StrEnum):
    """Where the results of tool calls come from in a Recorded replay."""

    RECORDED = "Recorded"
    RUN_INTERNAL = "RunInternal"


class ReplayOptions(ApiModel):
    """How a session is done once more."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.tools) || !has(self.mode) || self.mode == 'Recorded'",
                    "tools belongs to mode Recorded: in mode Live all tools run",
                )
            ]
        }
    )

    mode: ReplayMode | None = None
    """Recorded (default): each step gets the answer that the session got, nothing is bought. Live: answers are bought
    anew, tools run."""
    tools: ReplayTools | None = None
    """In mode Recorded. Recorded (default): calls get the results that the session got, nothing runs. RunInternal:
    tools without effects outside of the agent's pod run; differing results are told, and the model is shown the
    recorded ones."""
    until_step: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Last step to be done again. Default: the last one that was completed when this session is accepted. Not for
    sessions of several agents: they are done again from beginning to end."""


class ReplaySpec(ReplayOptions):
    """A session to be done once more, step by step, with what this spec says instead of what its own said."""

    of: SessionRef
    """The session. Who creates the resource must be allowed to read its messages."""
