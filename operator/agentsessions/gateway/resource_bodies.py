"""Bodies of the requests that create and change sessions. What the OpenAPI document describes."""

from enum import StrEnum
from typing import Annotated, Any, Final, Self

import orjson
from pydantic import ConfigDict, Field, model_validator

from agentsessions.api.cloning import clone_spec, merge, replay_spec
from agentsessions.api.model import ApiModel
from agentsessions.api.names import MAX_SESSION_NAME
from agentsessions.api.v1alpha1.agent import Quantity
from agentsessions.api.v1alpha1.life import Conversation, Limits, PausePolicy, Retry, Shutdown
from agentsessions.api.v1alpha1.names import SUBDOMAIN
from agentsessions.api.v1alpha1.placement import Placement
from agentsessions.api.v1alpha1.role import Capability, SessionPattern
from agentsessions.api.v1alpha1.session import MUTABLE_SPEC_FIELDS, OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.source import ReplayOptions, SourceHistory, SourceWorkspace
from agentsessions.journal.rows import SessionRow

MAX_LABELS: Final = 64
Label = Annotated[str, Field(max_length=63)]
Annotation = Annotated[str, Field(max_length=65_536)]
SessionName = Annotated[str, Field(min_length=1, max_length=MAX_SESSION_NAME, pattern=f"^{SUBDOMAIN}$")]
META_FIELDS: Final = frozenset({"name", "labels", "annotations"})

_SPEC_FIELDS: Final = frozenset(
    field.alias or field.validation_alias or name for name, field in SessionSpec.model_fields.items()
)


def _without_default(schema: dict[str, Any]) -> None:
    """Take the default out of a field's schema: in a patch, what is left out stays."""
    schema.pop("default", None)


class SessionCreate(SessionSpec):
    """A session to be created: its spec, flat, and how the resource is named and labelled."""

    model_config = ConfigDict(json_schema_extra={})

    name: SessionName | None = None
    """Name of the resource. Without it one that follows from `sessionId`, or else from title or goal with a random
    end."""
    labels: Annotated[dict[str, Label], Field(max_length=MAX_LABELS)] | None = None
    """Labels of the resource."""
    annotations: Annotated[dict[str, Annotation], Field(max_length=MAX_LABELS)] | None = None
    """Annotations of the resource."""

    @model_validator(mode="after")
    def _check_writable(self) -> Self:
        """Refuse what JSON can be read from and not be written to again: half characters, numbers beyond 64 bits."""
        try:
            orjson.dumps(self.to_spec())
        except TypeError as error:
            raise ValueError(f"it cannot be written as JSON: {error}") from error
        return self

    def to_spec(self) -> dict[str, Any]:
        """Return the spec, without what was left to the API server's defaults."""
        return self.model_dump(
            mode="json", by_alias=True, exclude_none=True, exclude_unset=True, exclude=set(META_FIELDS)
        )


class SessionClone(ApiModel):
    """A session to be made from another one: its spec, and what is to be different."""

    name: SessionName | None = None
    """Name of the resource. Without it one that follows from title or goal, with a random end."""
    labels: Annotated[dict[str, Label], Field(max_length=MAX_LABELS)] | None = None
    """Labels of the resource."""
    annotations: Annotated[dict[str, Annotation], Field(max_length=MAX_LABELS)] | None = None
    """Annotations of the resource."""
    at_step: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """How many completed steps are copied. Default: all that there are."""
    history: SourceHistory | None = None
    """Copy (default) or Reset, which takes the goal and no history."""
    workspace: SourceWorkspace | None = None
    """Empty (default), or Copy, which takes the files of its workspace as they are now."""
    replay: ReplayOptions | None = None
    """Do the session once more instead of going on from it. Not with `atStep` and `history`."""
    overrides: Annotated[dict[str, Any], Field(max_length=MAX_LABELS)] | None = None
    """What of the spec is to be different, as a JSON merge patch."""

    @model_validator(mode="after")
    def _check_either(self) -> Self:
        if self.replay is not None and any((self.at_step, self.history, self.workspace)):
            raise ValueError("atStep, history and workspace are about a clone: leave them out, or leave out replay")
        return self

    def to_create(self, row: SessionRow) -> dict[str, Any]:
        """Return the body of a request that creates it.

        Args:
            row: The other session.
        """
        reference = {"name": row.name, "uid": row.uid}
        if self.replay is not None:
            spec = replay_spec(row.spec, {"of": reference, **self.replay.to_json()})
        else:
            wanted = {"atStep": self.at_step, "history": self.history, "workspace": self.workspace}
            given = {name: value for name, value in wanted.items() if value is not None}
            spec = clone_spec(row.spec, {"sessionRef": reference, **given})
        meta = {"name": self.name, "labels": self.labels, "annotations": self.annotations}
        named = {name: value for name, value in meta.items() if value is not None}
        made: dict[str, Any] = {**merge(spec, self.overrides or {}), **named}
        return made


class WorkspaceChange(ApiModel):
    """What of a workspace may change."""

    size: Quantity | None = None
    """A larger size."""
    storage_class_name: Annotated[str, Field(max_length=253)] | None = None
    """Another storage class: the files are copied to a volume of it at the end of the step under way."""


class SessionPatch(ApiModel):
    """Changes of a session, as a JSON merge patch: what is left out stays, null removes."""

    title: Annotated[str, Field(max_length=256)] | None = None
    """Title for people."""
    description: Annotated[str, Field(max_length=4096)] | None = None
    """Description for people."""
    metadata: Annotated[dict[str, Annotated[str, Field(max_length=1024)] | None], Field(max_length=32)] | None = None
    """Words of your own about the session; nothing acts on them."""
    operating_mode: Annotated[OperatingMode, Field(json_schema_extra=_without_default)] = OperatingMode.RUNNING
    """Running, Paused (at the next step's end, state kept) or Cancelled (for good)."""
    priority: Annotated[int, Field(ge=-1000, le=1000)] | None = None
    """Place in the namespace's queue when there is no room: higher goes first. Default 0."""
    pause_policy: PausePolicy | None = None
    """How it is paused."""
    shutdown: Shutdown | None = None
    """How it is ended by a cancel."""
    conversation: Conversation | None = None
    """For a session that people talk with: `open` may be set to false."""
    capabilities: Annotated[list[Capability], Field(min_length=1, max_length=32)] | None = None
    """What it is good for, in words of your own: directors find departments by them."""
    monitors: Annotated[list[SessionPattern], Field(min_length=1, max_length=32)] | None = None
    """For observers: names of the sessions that they see, all of the same namespace. `*` stands for any characters, as
    in `department-*`. Who writes them must be able to read those sessions and their events."""
    placement: Placement | None = None
    """Where pods run. A change moves the session at the end of the step under way."""
    workspace: WorkspaceChange | None = None
    """Volume for the agent's files: it may grow, and move to another storage class."""
    limits: Limits | None = None
    """What the session may spend."""
    retry: Retry | None = None
    """What happens when an epoch fails for a passing reason."""
    expire_after_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Seconds without anything happening after which the session ends as Expired, unless a person paused it. No
    default."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Seconds after the end until this resource is deleted; the journal stays. No default: it is kept."""
    labels: Annotated[dict[str, Label | None], Field(max_length=MAX_LABELS)] | None = None
    """Labels of the resource."""
    annotations: Annotated[dict[str, Annotation | None], Field(max_length=MAX_LABELS)] | None = None
    """Annotations of the resource."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_immutable(cls, data: Any) -> Any:
        """Say of a field that exists and cannot change more than that it is not allowed here."""
        if isinstance(data, dict):
            for name in sorted(str(key) for key in data):
                if name in _SPEC_FIELDS - MUTABLE_SPEC_FIELDS:
                    raise ValueError(f"{name} cannot change after creation: create a new session")
        return data

    def to_patch(self) -> dict[str, Any]:
        """Return the merge patch of the resource."""
        given = self.model_dump(mode="json", by_alias=True, exclude_unset=True)
        metadata = {name: given.pop(name) for name in ("labels", "annotations") if name in given}
        return {"metadata": metadata, "spec": given}


class ShutdownMode(StrEnum):
    """How hard a session is ended."""

    GRACEFUL = "graceful"
    FORCED = "forced"


class CancelRequest(ApiModel):
    """Why a session is cancelled."""

    reason: Annotated[str, Field(max_length=256)] | None = None
    """Why, for people; shown in status."""


class ShutdownRequest(CancelRequest):
    """How a session is ended."""

    mode: ShutdownMode = ShutdownMode.GRACEFUL
    """graceful: agents may end by themselves. forced: they get no time."""
    grace_period_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Seconds that agents get to end by themselves. Default: what the session says, or 30. Not with forced."""

    @model_validator(mode="after")
    def _check_grace(self) -> Self:
        if self.mode is ShutdownMode.FORCED and self.grace_period_seconds:
            raise ValueError("forced gives no time: leave gracePeriodSeconds out, or ask for graceful")
        return self
