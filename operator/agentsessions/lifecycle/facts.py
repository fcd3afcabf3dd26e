"""Everything that a decision may depend on, gathered once per pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from agentsessions.api.levels import Level
from agentsessions.api.reasons import Reason
from agentsessions.api.v1alpha1.placement import FilledFrom
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import DataSourceStatus, SessionStatus
from agentsessions.lifecycle.ties import NO_TIES, Ties


@dataclass(frozen=True, slots=True)
class SessionView:
    """An AgentSession as the API server last showed it."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    created_at: datetime
    is_deleting: bool
    spec: SessionSpec
    status: SessionStatus
    labels: Mapping[str, str] = field(default_factory=dict)
    """Kept by who shows them: no decision depends on them."""
    parent_uid: str = ""
    """Of a child session: the director whose agent started it. Only the operator can write it (admission)."""


@dataclass(frozen=True, slots=True)
class PodView:
    """The few fields of an agent pod that matter. Ours by its ownerReference, not by its labels."""

    namespace: str
    name: str
    uid: str
    session_uid: str
    agent: str
    epoch: int
    resource_version: str
    created_at: datetime
    phase: str
    """Pending, Running, Succeeded, Failed or Unknown."""
    is_deleting: bool = False
    started_at: datetime | None = None
    """When the agent's container last started."""
    finished_at: datetime | None = None
    exit_code: int | None = None
    waiting_reason: str = ""
    """Why it does not run: a container's waiting reason (ImagePullBackOff) or the scheduler's (Unschedulable)."""
    message: str = ""
    """The kubelet's or scheduler's words."""
    site: str = ""
    """Digest of where it was to run, and with which volume; empty where nothing was asked."""
    is_node_lost: bool = False
    """Whether Kubernetes gave it up for its node: one that cannot be reached, throws its pods out, or is gone."""
    gateway: str = ""
    """Where it looks for the gateway, by its hosts file: addresses, with commas between. Empty: it asks a DNS."""

    @property
    def is_ended(self) -> bool:
        """Whether its container will not run again."""
        return self.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class TemplateView:
    """What is known of the template that a session names."""

    name: str = ""
    """Empty: the session names none."""
    revision: str = ""
    """The revision that the session keeps to; empty until it is known."""
    newest: str = ""
    """The revision that a session of now would get; empty when the template is gone."""
    not_allowed: tuple[str, ...] = ()
    """Fields of the spec that the template does not let it override."""


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What looking up the session's references gave: frozen inputs, or the first problem."""

    reason: Reason = Reason.ACCEPTED
    message: str = ""
    context_digest: str = ""
    """SHA-256 (hex) of the referenced content."""
    has_snapshot: bool = False
    """Whether the session names ConfigMaps and so owns a frozen copy."""
    data_sources: tuple[DataSourceStatus, ...] = ()
    """The data sources as they were frozen."""
    filled_from: FilledFrom | None = None
    """The workspace of another session that its own begins with."""

    @property
    def is_accepted(self) -> bool:
        """Whether every reference was found and fits."""
        return self.reason is Reason.ACCEPTED


@dataclass(frozen=True, slots=True)
class Admission:
    """What the namespace's queue says to a session that wants to start a pod."""

    is_admitted: bool
    """Whether there is room; the room is kept for the session until it needs no pod any more."""
    reason: Reason = Reason.ACCEPTED
    """Why there is none: QuotaExceeded, UsageUnknown."""
    message: str = ""
    """Which quota, what is full, the place in the queue, and what to do."""


@dataclass(frozen=True, slots=True)
class JournalView:
    """What the operator knows of the journal, and how well."""

    is_reachable: bool
    """Whether the levels are live (connected and synced)."""
    level: Level | None = None
    is_fresh: bool = False
    """Whether `level` was read from the store after everything else in these facts was observed."""
    away: timedelta = timedelta(0)
    """Time of the current Running phase during which the gateway could not be reached."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a session may stay in a phase that others must end. Settings of the operator."""

    pending: timedelta = timedelta(minutes=10)
    """In Pending; then Stalled says what is missing."""
    queued: timedelta = timedelta(hours=1)
    """In Queued; then Stalled says so."""
    starting: timedelta = timedelta(minutes=10)
    """In Starting, for each try; then the session fails."""
    ending: timedelta = timedelta(seconds=30)
    """For pods to be gone once their grace period is over, in Pausing (then Stalled) and Cancelling (then it ends)."""
    awaiting_journal: timedelta = timedelta(minutes=10)
    """Time after a pod's end in which the journal must say how it ended, once the gateway is reachable."""
    outer_bound: timedelta = timedelta(seconds=900)
    """Time in Running allowed on top of `timeoutSeconds`, whatever the gateway says."""
    arrival: timedelta = timedelta(seconds=3)
    """Age of a session up to which a missing reference is not yet a problem: one apply may bring it a moment later."""
    recheck: timedelta = timedelta(seconds=5)
    """Pause between two looks at references that no watch covers."""


DEFAULT_DEADLINES: Final = Deadlines()


@dataclass(frozen=True, slots=True)
class Facts:
    """Input of `decide`."""

    session: SessionView
    pods: tuple[PodView, ...]
    acceptance: Acceptance
    journal: JournalView
    template: TemplateView = field(default_factory=TemplateView)
    deadlines: Deadlines = field(default=DEFAULT_DEADLINES)
    refusal: str = ""
    """The API server's words on refusing the pod that this pass asked for; empty when it did not."""
    admission: Admission | None = None
    """What the namespace's queue says; None as long as it was not asked in this pass."""
    hold: str = ""
    """Why nothing may run in the namespace now; empty when it may."""
    resize: str | None = None
    """The API server's words on refusing to let claims grow; empty when they grow, None when it was not asked."""
    ties: Ties = field(default=NO_TIES)
    """The sessions that it ends together with."""
    jitter: float = 0.5
    """A number in [0, 1), drawn once per session and retry, that spreads retries."""
