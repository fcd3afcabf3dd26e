"""spec.placement: on which nodes a session's pods run, beside or apart from whose; and what status says of that."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, WithJsonSchema

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.cel import cel

LabelText = Annotated[str, Field(max_length=63, pattern=r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
LabelKey = Annotated[
    str,
    Field(min_length=1, max_length=100, pattern=r"^([a-z0-9.-]{1,80}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"),
]
_SHORT_KEYS = {
    "x-kubernetes-validations": [cel("self.all(k, size(k) <= 100)", "the key of a label has at most 100 characters")]
}


class TolerationOperator(StrEnum):
    """How a toleration is compared with a taint."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """A taint of nodes that the session's pods put up with."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.value) || !has(self.operator) || self.operator == 'Equal'",
                    "operator Exists takes no value",
                    field="value",
                ),
                cel(
                    "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                    "tolerationSeconds belongs to effect NoExecute",
                    field="tolerationSeconds",
                ),
            ]
        }
    )

    key: LabelKey
    """Key of the taint."""
    operator: TolerationOperator | None = None
    """Equal (default): the taint has this value. Exists: whatever its value."""
    value: LabelText | None = None
    """Value of the taint."""
    effect: TaintEffect | None = None
    """Effect of the taint; each of them when absent."""
    toleration_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """For NoExecute: seconds that a pod stays on a node that has the taint. As long as it likes when absent."""


class AffinitySelector(ApiModel):
    """Which sessions of the namespace, by their labels."""

    match_labels: Annotated[dict[str, LabelText], Field(min_length=1, max_length=4, json_schema_extra=_SHORT_KEYS)]
    """Labels that they have (metadata.labels of the AgentSession)."""


class Nearness(StrEnum):
    """Where a session's pods are to be, seen from those of others."""

    NEAR = "Near"
    APART = "Apart"


class Strictness(StrEnum):
    """Whether a pod may start where the wish is not met."""

    PREFERRED = "Preferred"
    REQUIRED = "Required"


class SessionAffinity(ApiModel):
    """Near to, or apart from, the pods of other sessions of the namespace."""

    selector: AffinitySelector
    """The other sessions. The session itself is none of them."""
    nearness: Nearness | None = None
    """Near (default): in the same place as theirs. Apart: in another."""
    strictness: Strictness | None = None
    """Preferred (default): if there is room so. Required: else no pod starts; with Near, not before one of theirs
    runs."""
    topology_key: LabelKey | None = None
    """Label of nodes that says what one place is, such as topology.kubernetes.io/zone. A node (kubernetes.io/hostname)
    when absent."""


class Place(ApiModel):
    """Where pods run."""

    node_selector: Annotated[dict[str, LabelText], Field(max_length=6, json_schema_extra=_SHORT_KEYS)] | None = None
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=6)] | None = None
    """Taints of nodes that pods put up with."""
    session_affinity: Annotated[list[SessionAffinity], Field(max_length=3)] | None = None
    """Other sessions to be near to, or apart from."""


class Placement(Place):
    """Where the session's pods run. A change of it moves the session at the end of the step under way."""

    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = None
    """Seconds that a move to another place or storage class may take until the new pod runs; then the session goes
    back to where it was. Default 300."""


class FilledFrom(ApiModel):
    """The workspace of another session, whose files a volume begins with."""

    session_name: Annotated[str, Field(max_length=253)]
    """Name of that session."""
    session_uid: Annotated[str, Field(max_length=64)] = Field(alias="sessionUID")
    """Its uid."""
    number: Annotated[int, Field(ge=0)] = 0
    """Which of its volumes."""
    storage_class_name: Annotated[str, Field(max_length=253)] | None = None
    """Storage class of that volume."""
    agents: Annotated[list[Annotated[str, Field(max_length=20)]], Field(max_length=16)]
    """Agents whose volume is not filled yet: no pod of theirs ran."""


class Volume(ApiModel):
    """The volume that an agent's workspace is on."""

    number: Annotated[int, Field(ge=0)] = 0
    """Which one: 0 for the first, raised by each move to another storage class."""
    storage_class_name: Annotated[str, Field(max_length=253)] | None = None
    """Its storage class; the cluster's default when absent."""
    size: Annotated[str, Field(max_length=32)]
    """Its size."""
    filled_from: FilledFrom | None = None
    """What it begins with, until that was copied."""
    refused_size: Annotated[str, Field(max_length=32)] | None = None
    """Size that it was refused; it is asked for no more."""


_AS_IT_WAS = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
"""Schema of what the operator copies from a spec that had one of its own."""


class Site(ApiModel):
    """Where the session's next pod starts, and with which volume."""

    place: Annotated[Place, WithJsonSchema(_AS_IT_WAS)] | None = None
    """Nodes, as spec.placement had them; any when absent."""
    volume: Volume | None = None
    """Volume of the workspace."""


class MigrationState(StrEnum):
    """How far a move is."""

    MOVING = "Moving"
    ARRIVED = "Arrived"
    MOVED = "Moved"
    ROLLED_BACK = "RolledBack"


class MigrationStatus(ApiModel):
    """The newest move of the session to another place or storage class."""

    state: MigrationState
    """Moving until its pod runs, Arrived until a step was completed on the new volume, then Moved; or RolledBack."""
    since: datetime
    """When it came into this state (UTC); of Moving the timeout counts from here."""
    wanted: Annotated[str, Field(max_length=64)]
    """Digest of what was wanted: what was rolled back is not tried again before something else is wanted."""
    former: Site | None = None
    """Where the session was before, until the move is over."""
    volumes: Annotated[int, Field(ge=0)] = 0
    """Highest number of a volume so far."""
    epoch: Annotated[int, Field(ge=0)] | None = None
    """The agent's epoch before the first one at the new place."""
    turns: Annotated[int, Field(ge=0)] | None = None
    """Steps that were completed before it."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why it was rolled back, and what to do."""
