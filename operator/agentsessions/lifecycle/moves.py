"""Moves: the session's pods go to another place, or to another volume.

The step under way is finished first, as for a pause; the former pods are gone before the new ones start. What does not
run in time goes back to where it was. What people want is looked at on every pass: the newest wish wins.
"""

from datetime import timedelta
from typing import Final

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.placement import MigrationState, Site
from agentsessions.lifecycle import epochs, sites
from agentsessions.lifecycle.decision import unwanted
from agentsessions.lifecycle.facts import PodView
from agentsessions.lifecycle.outcome import Outcome
from agentsessions.lifecycle.pauses import AT_ONCE, find_pause
from agentsessions.lifecycle.sites import Plan
from agentsessions.lifecycle.situation import Situation

MOVABLE: Final = frozenset({Phase.STARTING, Phase.RUNNING, Phase.PAUSING})
"""Phases with pods. Without one a session takes its new place with its next epoch."""
MOST_WORDS: Final = 500
"""Characters of what Kubernetes says that are shown."""


def is_moving(case: Situation) -> Outcome | None:
    """Pods at a place that is not wanted any more end at a step's end; a move that takes too long is undone."""
    if case.phase not in MOVABLE or not case.has_begun or find_pause(case) is not None:
        return None
    failure = find_failure(case)
    if failure:
        return _end_pods(case, sites.roll_back(case, failure), f"moving back: {failure}")
    here, goal = sites.find_site(case), sites.find_goal(case)
    if sites.site_key(goal) == sites.site_key(here):
        is_known = case.status.site is not None
        return _end_pods(case, None, epochs.message_now(case)) if is_known and sites.strangers(case, here) else None
    if not sites.strangers(case, goal):
        return None  # the next epoch starts there
    return _end_pods(case, sites.begin(case, goal), f"moving to {tell(goal)}: the current turn is being finished")


def find_failure(case: Situation) -> str:
    """Return why the move under way is to be undone, with what to do about it; empty when it is not."""
    move, here = case.status.migration, sites.find_site(case)
    if move is None or move.state is not MigrationState.MOVING or sites.has_arrived(case):
        return ""
    former = move.former.volume if move.former is not None else None
    if not sites.is_one(here.volume, former) and sites.is_lost(case):
        return ""  # its files may be there already
    pod = _newest(case, here)
    words = f": {pod.waiting_reason} {pod.message}".rstrip()[:MOST_WORDS] if pod is not None else ""
    remedy = f"make {tell(here)} possible, then change spec.placement or its timeoutSeconds to try again"
    if pod is not None and pod.is_ended and pod.started_at is None:
        return f"pod {pod.name} could not start at its new place{words}; {remedy}"
    deadline = sites.deadline_of(case)
    if deadline is None or case.now < deadline:
        return ""
    seconds = sites.timeout_of(case.facts.session.spec).total_seconds()
    words = words or (f": {case.facts.refusal}"[:MOST_WORDS] if case.facts.refusal else "")
    return f"no pod ran at its new place within {seconds:.0f} s{words}; {remedy}"


def tell(site: Site) -> str:
    """Return a site in words."""
    place, words = site.place, []
    if place is not None and place.node_selector:
        words.append("nodes with " + ", ".join(f"{key}={value}" for key, value in sorted(place.node_selector.items())))
    if place is not None and place.session_affinity:
        words.append("what spec.placement.sessionAffinity says")
    if site.volume is not None and site.volume.number:
        name = site.volume.storage_class_name
        words.append(f"storage class {name!r}" if name is not None else "the default storage class")
    return " and ".join(words) or "any node"


def _newest(case: Situation, here: Site) -> PodView | None:
    """Return the newest pod at the site."""
    key = sites.site_key(here)
    return max((pod for pod in case.facts.pods if pod.site == key), key=lambda pod: pod.epoch, default=None)


def _end_pods(case: Situation, plan: Plan | None, message: str) -> Outcome:
    """Let pods end elsewhere: those that run at the end of their turn, those that do not yet at once."""
    site = plan.site if plan is not None else sites.find_site(case)
    strangers = sites.strangers(case, site)
    grace = AT_ONCE if case.effective.pauses_at_once else case.effective.pause_grace
    since = (case.status.phase_started_at if case.phase is Phase.PAUSING else None) or case.now
    is_late = case.now >= since + grace
    over = (
        strangers if is_late else tuple(pod for pod in strangers if pod.started_at is None and pod.phase == "Pending")
    )
    return Outcome(
        Phase.PAUSING,
        Reason.MIGRATING,
        message[:1024],
        delete=unwanted(over),
        wake_at=None if is_late else since + max(grace, timedelta(seconds=1)),
        plan=plan,
    )
