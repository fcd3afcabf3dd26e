"""Where a session's pods start, and with which volume: where it is, where it is wanted, and how it gets there.

`status.site` is where the next pod starts. A move sets it to what is wanted and keeps the former one until the new pod
runs (another place) or has completed a step (another volume). Until its pod may have run, a move can be undone: by its
timeout, or because something else is wanted. From then on files may be on the new volume alone, and nothing undoes it.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.placement import MigrationState, MigrationStatus, Place, Site, Volume
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.wire import Outcome as TurnOutcome
from agentsessions.lifecycle.facts import PodView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.situation import INACTIVE, EpochState, Situation

DEFAULT_TIMEOUT_SECONDS: Final = 300
KEY_LENGTH: Final = 16
UNDER_WAY: Final = frozenset({MigrationState.MOVING, MigrationState.ARRIVED})


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the next pod starts, and what status then says."""

    site: Site
    migration: MigrationStatus | None
    copy_from: Volume | None = None
    """The volume whose files its own is filled with before it starts."""
    drop: tuple[Volume, ...] = ()
    """Volumes that nothing needs any more."""


def site_key(site: Site) -> str:
    """Return the digest by which a pod's site is told; empty where nothing was asked. Growing changes nothing."""
    volume = site.volume
    is_plain = volume is None or (volume.number == 0 and volume.storage_class_name is None)
    if site.place is None and is_plain:
        return ""
    of_volume = None if volume is None else [volume.number, volume.storage_class_name]
    return _digest({"place": site.place and site.place.to_json(), "volume": of_volume})


def first_site(spec: SessionSpec) -> Site:
    """Return where a new session starts."""
    return Site(place=_place_of(spec), volume=_first_volume(spec))


def wanted_digest(spec: SessionSpec) -> str:
    """Return what is wanted, in a word; another timeout is another wish."""
    workspace = spec.workspace
    return _digest(
        {
            "placement": spec.placement and spec.placement.to_json(),
            "class": [workspace.storage_class_name] if workspace else None,
        }
    )


def timeout_of(spec: SessionSpec) -> timedelta:
    """Return how long a move may take."""
    seconds = spec.placement.timeout_seconds if spec.placement else None
    return timedelta(seconds=seconds or DEFAULT_TIMEOUT_SECONDS)


def find_site(case: Situation) -> Site:
    """Return where the session is."""
    spec = case.facts.session.spec
    if case.status.site is not None:
        return case.status.site
    if case.has_begun:
        return Site(volume=_first_volume(spec))
    first, source = first_site(spec), case.facts.acceptance.filled_from
    volume = first.volume and first.volume.model_copy(update={"filled_from": source})
    return first.model_copy(update={"volume": volume})


def find_goal(case: Situation) -> Site:
    """Return where it is to be: where it is wanted, unless that was tried, or a move that cannot be undone goes on."""
    here, move, spec = find_site(case), _progress(case), case.facts.session.spec
    if move is not None and move.state is MigrationState.ARRIVED:
        return here
    if move is not None and move.state is MigrationState.ROLLED_BACK and move.wanted == wanted_digest(spec):
        return here
    return Site(place=_place_of(spec), volume=_wanted_volume(case, here))


def is_settled(case: Situation) -> bool:
    """Tell whether no move is wanted, and none is under way."""
    move = case.status.migration
    return (move is None or move.state not in UNDER_WAY) and site_key(find_goal(case)) == site_key(find_site(case))


def deadline_of(case: Situation) -> datetime | None:
    """Return when the move under way is given up."""
    move = case.status.migration
    if move is None or move.state is not MigrationState.MOVING or case.phase in {*INACTIVE, *TERMINAL}:
        return None
    return move.since + timeout_of(case.facts.session.spec)


def plan_next(case: Situation) -> Plan:
    """Return where the next pod starts. A move that has found no pod to wait for begins with it."""
    here, goal = find_site(case), find_goal(case)
    if not case.has_begun and case.status.migration is None:
        return Plan(goal, None)
    if site_key(goal) != site_key(here):
        plan = begin(case, goal)
    else:
        seen = observe(case)
        plan = Plan(here, seen.migration, copy_from=_source_of(here, seen.migration), drop=seen.drop)
    return _begun(case, plan)


def begin(case: Situation, goal: Site) -> Plan:
    """Return the move to `goal`. One that is under way is given up for it: nothing was done there yet."""
    here, old = find_site(case), _progress(case)
    former = (old.former if old is not None and old.state is MigrationState.MOVING else None) or here
    drop = observe(case).drop
    if here.volume is not None and not is_one(here.volume, former.volume, goal.volume):
        drop = (*drop, here.volume)
    highest = max(old.volumes if old else 0, *(s.volume.number if s.volume else 0 for s in (here, goal)))
    is_back = site_key(goal) == site_key(former)
    move = MigrationStatus(
        state=MigrationState.MOVED if is_back else MigrationState.MOVING,
        since=_whole(case.now),
        wanted=wanted_digest(case.facts.session.spec),
        former=None if is_back else former,
        volumes=highest,
    )
    site = former if is_back else goal
    return Plan(site, move, copy_from=_source_of(site, move), drop=drop)


def roll_back(case: Situation, why: str) -> Plan:
    """Return the way back to where the session was."""
    here, move = find_site(case), case.status.migration
    if move is None or move.former is None:
        raise AssertionError("only a move under way is rolled back, and it knows where it came from")
    former = move.former
    told = move.model_copy(
        update={
            "state": MigrationState.ROLLED_BACK,
            "since": _whole(case.now),
            "wanted": wanted_digest(case.facts.session.spec),
            "former": None,
            "epoch": None,
            "turns": None,
            "message": why[:1024],
        }
    )
    drop = (here.volume,) if here.volume and not is_one(here.volume, former.volume) else ()
    return Plan(former, told, drop=drop)


def observe(case: Situation) -> Plan:
    """Return site and move as the facts show them now, with the volume that is not needed any more."""
    here, before, move = find_site(case), case.status.migration, _progress(case)
    if _is_refused(case, here) and (before is None or before.wanted != wanted_digest(case.facts.session.spec)):
        return Plan(here, _refusal(case))
    if before is None or move is None:
        return Plan(here, None)
    if move.state is MigrationState.ROLLED_BACK:
        is_other = move.wanted != wanted_digest(case.facts.session.spec)
        if is_other and site_key(find_goal(case)) == site_key(here):
            move = _moved(case, move)
        return Plan(here, move)
    left = before.former.volume if before.former is not None and move.state is MigrationState.MOVED else None
    return Plan(here, move, drop=() if left is None or is_one(here.volume, left) else (left,))


def _is_refused(case: Situation, here: Site) -> bool:
    """Tell whether a class is wanted that a session of several agents cannot have any more.

    The CRD refuses that, where the agents are the spec's own and not its template's.
    """
    workspace, volume = case.facts.session.spec.workspace, here.volume
    if case.team is None or workspace is None or volume is None or not case.has_begun:
        return False
    return workspace.storage_class_name != volume.storage_class_name


def _refusal(case: Situation) -> MigrationStatus:
    return MigrationStatus(
        state=MigrationState.ROLLED_BACK,
        since=_whole(case.now),
        wanted=wanted_digest(case.facts.session.spec),
        message="a session of several agents keeps its storage class: change it back, or create a new session",
    )


def plan_of(case: Situation, phase: Phase, plan: Plan | None) -> Plan:
    """Return the site of a session that goes to `phase`: as planned, else as the facts show it."""
    seen = plan or observe(case)
    if phase in TERMINAL and seen.migration is not None and seen.migration.state is MigrationState.MOVING:
        return roll_back(case, "the session ended before a pod ran at the new place")
    return seen


def _progress(case: Situation) -> MigrationStatus | None:
    """Return the move as far as it now is."""
    here, move = find_site(case), case.status.migration
    if move is None or move.state not in UNDER_WAY:
        return move
    source = _source_of(here, move)
    if move.state is MigrationState.MOVING and (has_arrived(case) or (source is not None and is_lost(case))):
        arrived = {"state": MigrationState.ARRIVED, "since": _whole(case.now)}
        move = _moved(case, move) if source is None else move.model_copy(update=arrived)
    if move.state is MigrationState.ARRIVED and _has_committed(case, move):
        return _moved(case, move)
    return move


def filled(case: Situation, site: Site) -> Site:
    """Return the site without what was copied: a pod runs only when its volume is filled."""
    source = site.volume.filled_from if site.volume is not None else None
    if site.volume is None or source is None:
        return site
    ran = {pod.agent for pod in _named_pods(case, site) if pod.phase == "Running" or pod.started_at is not None}
    left = [agent for agent in source.agents if agent not in ran]
    rest = source.model_copy(update={"agents": left}) if left else None
    return site.model_copy(update={"volume": site.volume.model_copy(update={"filled_from": rest})})


def has_arrived(case: Situation) -> bool:
    """Tell whether a pod of the new site runs, or has run."""
    ours = _named_pods(case, find_site(case))
    return any(pod.phase == "Running" or pod.started_at is not None for pod in ours)


def _named_pods(case: Situation, site: Site) -> list[PodView]:
    """Return the pods at a site that status names."""
    named, key = {row.pod_uid for row in case.status.agents or ()}, site_key(site)
    return [pod for pod in case.facts.pods if pod.uid in named and pod.site == key]


def is_lost(case: Situation) -> bool:
    """Tell whether a pod of the new site is gone of which nobody saw whether it ran."""
    move, row = case.status.migration, case.row
    if move is None or move.epoch is None or row is None or case.phase in {*INACTIVE, *TERMINAL}:
        return False
    return row.epoch > move.epoch and case.pod is None and row.state == EpochState.STARTING.value


def strangers(case: Situation, site: Site) -> tuple[PodView, ...]:
    """Return the pods that must be gone before one starts at `site`.

    What Kubernetes gave up with its node is fenced off by the next epoch; but its volume is not let go.
    """
    key, here = site_key(site), find_site(case)
    is_copied = not is_one(here.volume, site.volume) or _source_of(site, case.status.migration) is not None
    return tuple(pod for pod in case.remaining_pods if pod.site != key and (is_copied or not pod.is_node_lost))


def _has_committed(case: Situation, move: MigrationStatus) -> bool:
    """Tell whether a step was completed on the new volume, or is held open there for a person."""
    level, closing, row = case.level, case.closing, case.row
    if move.turns is None or level is None:
        return False
    is_new = row is not None and row.epoch > (move.epoch or 0)
    is_held = is_new and closing is not None and closing.outcome is TurnOutcome.WAITING
    return level.turns > move.turns or case.is_done or is_held


def _moved(case: Situation, move: MigrationStatus) -> MigrationStatus:
    over = {"former": None, "epoch": None, "turns": None, "message": None}
    return move.model_copy(update={"state": MigrationState.MOVED, "since": _whole(case.now), **over})


def _begun(case: Situation, plan: Plan) -> Plan:
    """Return the plan with what its first pod is compared with; time in which no pod was wanted does not count."""
    move = plan.migration
    if move is None or move.state is not MigrationState.MOVING:
        return plan
    since = _whole(case.now) if case.phase in INACTIVE else move.since
    if move.turns is None:
        epoch = max((row.epoch for row in case.status.agents or ()), default=0)
        move = move.model_copy(update={"epoch": epoch, "turns": case.level.turns if case.level else 0})
    return Plan(plan.site, move.model_copy(update={"since": since}), plan.copy_from, plan.drop)


def _wanted_volume(case: Situation, here: Site) -> Volume | None:
    workspace, move = case.facts.session.spec.workspace, case.status.migration
    if workspace is None or here.volume is None:
        return _first_volume(case.facts.session.spec)
    wanted = workspace.storage_class_name
    if here.volume.storage_class_name == wanted or case.team is not None:
        return here.volume
    former = move.former.volume if move is not None and move.former is not None else None
    if former is not None and former.storage_class_name == wanted:
        return former
    number = max(here.volume.number, move.volumes if move is not None else 0) + 1
    source = here.volume.filled_from
    return Volume(number=number, storage_class_name=wanted, size=str(workspace.size), filled_from=source)


def _source_of(site: Site, move: MigrationStatus | None) -> Volume | None:
    """Return the volume whose files belong on the site's."""
    if move is None or move.state not in UNDER_WAY or move.former is None:
        return None
    former = move.former.volume
    if former is None or former.filled_from is not None:  # nothing is on it yet that the new one does not begin with
        return None
    return None if is_one(site.volume, former) else former


def _first_volume(spec: SessionSpec) -> Volume | None:
    if spec.workspace is None:
        return None
    return Volume(storage_class_name=spec.workspace.storage_class_name, size=str(spec.workspace.size))


def _place_of(spec: SessionSpec) -> Place | None:
    if spec.placement is None:
        return None
    place = Place.model_validate(spec.placement.model_dump(exclude={"timeout_seconds"}))
    return place if any(place.to_json().values()) else None


def is_one(volume: Volume | None, *others: Volume | None) -> bool:
    """Tell whether it is one of the others, however large they are."""
    number = volume.number if volume is not None else None
    return any(number == (other.number if other is not None else None) for other in others)


def _digest(value: dict[str, object]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def _whole(at: datetime) -> datetime:
    return at.replace(microsecond=0)
