"""From objects as the API server sends them to the views that decisions are made from.

Never raises for what a cluster may hold: a spec that this version cannot read (the CRD is newer or older than the
operator) is a problem of that session, told in its status.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from agentsessions.api import names
from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.provider import ModelProviderSpec, ModelProviderStatus
from agentsessions.api.v1alpha1.quota import SessionQuotaSpec, SessionQuotaStatus
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.api.v1alpha1.template import AgentSessionTemplateSpec
from agentsessions.children.owner import owner_uid
from agentsessions.children.pod import CONTAINER
from agentsessions.lifecycle.facts import PodView, SessionView
from agentsessions.lifecycle.quotas import Quota

Raw = Mapping[str, Any]
Part = TypeVar("Part", bound=ApiModel)

UNREADABLE_SPEC: Final = SessionSpec(goal="unreadable")
"""Stands in for a spec that does not parse; never acted upon."""
SHOWN_ERRORS: Final = 3
NODE_LOST_REASONS: Final = frozenset({"DeletionByTaintManager", "DeletionByPodGC", "NodeLost"})
"""What Kubernetes says of a pod whose node it gave up: reasons of its condition DisruptionTarget, or of its status."""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session as last seen, and what keeps this operator from reading it."""

    view: SessionView
    problem: str = ""
    """Why the spec does not parse; `view.spec` then stands for nothing."""
    status_problem: str = ""
    """Why the status does not parse; the session is then left alone."""


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """A ModelProvider as last seen."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: ModelProviderSpec | None
    problem: str
    """Why the spec does not parse; empty when it does."""
    status: ModelProviderStatus


@dataclass(frozen=True, slots=True)
class TemplateRecord:
    """An AgentSessionTemplate as last seen."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: AgentSessionTemplateSpec | None
    problem: str
    """Why the spec does not parse; empty when it does."""


@dataclass(frozen=True, slots=True)
class QuotaRecord:
    """A SessionQuota as last seen."""

    namespace: str
    uid: str
    generation: int
    resource_version: str
    view: Quota
    """What it says; a spec that does not parse is None in it."""
    status: SessionQuotaStatus

    @property
    def name(self) -> str:
        """Its name."""
        return self.view.name

    @property
    def spec(self) -> SessionQuotaSpec | None:
        """Its limits; None when they cannot be read."""
        return self.view.spec

    @property
    def problem(self) -> str:
        """Why the spec does not parse; empty when it does."""
        return self.view.problem


def parse_spec(model: type[Part], raw: Raw) -> tuple[Part | None, str]:
    """Return an object's spec, or None and why this version does not understand it."""
    try:
        return model.model_validate(raw.get("spec") or {}), ""
    except ValidationError as error:
        return None, describe(error)


def parse_status(model: type[Part], raw: Raw) -> Part:
    """Return an object's status; an empty one where it does not parse, as it is written anew."""
    try:
        return model.model_validate(raw.get("status") or {}, extra="ignore")
    except ValidationError:
        return model()


def to_session(raw: Raw) -> SessionRecord:
    """Read an AgentSession."""
    meta = raw["metadata"]
    spec, problem = _parse_spec(raw)
    status, status_problem = _parse_status(raw.get("status") or {})
    view = SessionView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        created_at=to_instant(meta["creationTimestamp"]),
        is_deleting="deletionTimestamp" in meta,
        spec=spec,
        status=status,
        labels=meta.get("labels") or {},
        parent_uid=owner_uid(dict(raw)) or "",
    )
    return SessionRecord(view, problem, status_problem)


def to_provider(raw: Raw) -> ProviderRecord:
    """Read a ModelProvider."""
    meta = raw["metadata"]
    spec, problem = parse_spec(ModelProviderSpec, raw)
    return ProviderRecord(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        spec=spec,
        problem=problem,
        status=parse_status(ModelProviderStatus, raw),
    )


def to_template(raw: Raw) -> TemplateRecord:
    """Read an AgentSessionTemplate."""
    meta = raw["metadata"]
    spec, problem = parse_spec(AgentSessionTemplateSpec, raw)
    return TemplateRecord(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        spec=spec,
        problem=problem,
    )


def to_quota(raw: Raw) -> QuotaRecord:
    """Read a SessionQuota."""
    meta = raw["metadata"]
    spec, problem = parse_spec(SessionQuotaSpec, raw)
    return QuotaRecord(
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        view=Quota(meta["name"], spec, problem),
        status=parse_status(SessionQuotaStatus, raw),
    )


def to_pod(raw: Raw) -> PodView | None:
    """Read an agent pod; None when no session controls it or its labels are not those that we write."""
    meta, status = raw["metadata"], raw.get("status") or {}
    labels = meta.get("labels") or {}
    session_uid, agent, epoch = owner_uid(dict(raw)), labels.get(names.LABEL_AGENT), labels.get(names.LABEL_EPOCH, "")
    if session_uid is None or agent is None or not (epoch.isascii() and epoch.isdecimal()):
        return None
    container: Raw = next((c for c in status.get("containerStatuses") or () if c.get("name") == CONTAINER), {})
    state = container.get("state") or {}
    ended, running = state.get("terminated") or {}, state.get("running") or {}
    waiting_reason, message = _why_waiting(status, state)
    disruption = _disruption(status)
    is_node_lost = disruption.get("reason") in NODE_LOST_REASONS
    return PodView(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        session_uid=session_uid,
        agent=agent,
        epoch=int(epoch),
        resource_version=meta["resourceVersion"],
        created_at=to_instant(meta["creationTimestamp"]),
        phase=status.get("phase", "Pending"),
        is_deleting="deletionTimestamp" in meta,
        started_at=_instant_or_none(running.get("startedAt") or ended.get("startedAt")),
        finished_at=_instant_or_none(ended.get("finishedAt")),
        exit_code=ended.get("exitCode"),
        waiting_reason=waiting_reason,
        message=(disruption.get("message") if is_node_lost else _why_ended(status, ended)) or message,
        site=labels.get(names.LABEL_SITE, ""),
        is_node_lost=is_node_lost,
        gateway=sys.intern(",".join(alias["ip"] for alias in raw["spec"].get("hostAliases") or ())),
    )


def to_instant(text: str) -> datetime:
    """Return the instant (aware UTC) that a Kubernetes time names."""
    return datetime.fromisoformat(text)


def describe(error: ValidationError) -> str:
    """Say in one sentence which fields are wrong."""
    found = error.errors(include_url=False, include_input=False)
    parts = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in found[:SHOWN_ERRORS]]
    more = f" and {len(found) - SHOWN_ERRORS} more" if len(found) > SHOWN_ERRORS else ""
    return "; ".join(parts) + more


def _parse_spec(raw: Raw) -> tuple[SessionSpec, str]:
    try:
        return SessionSpec.model_validate(raw.get("spec") or {}), ""
    except ValidationError as error:
        return UNREADABLE_SPEC, describe(error)


def _parse_status(raw: Raw) -> tuple[SessionStatus, str]:
    try:
        return SessionStatus.model_validate(raw, extra="ignore"), ""  # a newer version adds fields
    except ValidationError as error:
        return SessionStatus(), describe(error)


def _why_waiting(status: Raw, state: Raw) -> tuple[str, str]:
    """Return reason and words of what keeps a pod from running: its container's, else the scheduler's."""
    waiting = state.get("waiting") or {}
    for before in status.get("initContainerStatuses") or ():
        told = _why_not_begun(before)
        if told[0]:
            return told
    if waiting.get("reason"):
        return waiting["reason"], waiting.get("message", "")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return condition.get("reason", ""), condition.get("message", "")
    return "", ""


def _why_not_begun(container: Raw) -> tuple[str, str]:
    """Return why what runs before the agent failed, or does not start."""
    state = container.get("state") or {}
    ended, waiting = state.get("terminated") or {}, state.get("waiting") or {}
    if ended and ended.get("exitCode"):
        return ended.get("reason", ""), ended.get("message", "").strip()
    is_ordinary = waiting.get("reason") == "PodInitializing"
    return ("", "") if is_ordinary else (waiting.get("reason", ""), waiting.get("message", ""))


def _disruption(status: Raw) -> Raw:
    """Return reason and message of why Kubernetes itself ends a pod."""
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return dict(condition)
    return status


def _why_ended(status: Raw, ended: Raw) -> str:
    """Return why a pod ended, where Kubernetes says more than an exit code: OOMKilled, Evicted."""
    reason = ended.get("reason", "")
    words = [reason if reason not in {"Completed", "Error"} else "", ended.get("message", "")]
    words += [status.get("reason", ""), status.get("message", "")]
    return ": ".join(word for word in words if word)[:1024]


def _instant_or_none(text: str | None) -> datetime | None:
    return to_instant(text) if text else None
