"""The state machine: which phase may follow which. Everything else about phases is drawn from this table.

An edge exists wherever its middle states may go unobserved (the operator was away), and nowhere else: a test takes
each of them. The CRD's CEL rule, the diagram
in docs/states.md and `decide` all read `TRANSITIONS`.
"""

from collections.abc import Mapping
from typing import Final

from agentsessions.api.reasons import Phase

TRANSITIONS: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.PENDING: frozenset(
        {
            Phase.QUEUED,
            Phase.STARTING,
            Phase.IDLE,  # a conversation that nobody has begun needs no pod
            Phase.PAUSED,
            Phase.CANCELLED,
            Phase.EXPIRED,
        }
    ),
    Phase.QUEUED: frozenset(
        {
            Phase.STARTING,
            Phase.WAITING,  # its journal was restored, from before a call was decided
            Phase.PAUSED,
            Phase.CANCELLED,
            Phase.EXPIRED,
        }
    ),
    Phase.STARTING: frozenset(
        {
            Phase.RUNNING,
            Phase.IDLE,
            Phase.WAITING,
            Phase.PAUSING,
            Phase.PAUSED,
            Phase.CANCELLING,
            Phase.CANCELLED,
            Phase.COMPLETED,
            Phase.FAILED,
        }
    ),
    Phase.RUNNING: frozenset(
        {
            Phase.STARTING,  # pod lost: next epoch
            Phase.IDLE,
            Phase.WAITING,
            Phase.PAUSING,
            Phase.PAUSED,
            Phase.CANCELLING,
            Phase.CANCELLED,
            Phase.COMPLETED,
            Phase.FAILED,
        }
    ),
    Phase.IDLE: frozenset(
        {
            Phase.QUEUED,
            Phase.STARTING,
            Phase.PAUSED,
            Phase.CANCELLED,
            Phase.COMPLETED,
            Phase.FAILED,
            Phase.EXPIRED,
        }
    ),
    Phase.WAITING: frozenset(
        {
            Phase.QUEUED,
            Phase.STARTING,
            Phase.PAUSING,  # its pod was still on its way out
            Phase.PAUSED,
            Phase.CANCELLING,
            Phase.CANCELLED,
            Phase.COMPLETED,
            Phase.FAILED,
            Phase.EXPIRED,
        }
    ),
    Phase.PAUSING: frozenset(
        {
            Phase.PAUSED,
            Phase.STARTING,
            Phase.WAITING,  # resumed, and a call of the turn that was ended waits for a person
            Phase.CANCELLING,
            Phase.CANCELLED,
            Phase.COMPLETED,
            Phase.FAILED,
        }
    ),
    Phase.PAUSED: frozenset(
        {
            Phase.QUEUED,
            Phase.STARTING,
            Phase.IDLE,
            Phase.WAITING,  # paused while a call waited for a person, who has not decided yet
            Phase.CANCELLED,
            Phase.EXPIRED,
        }
    ),
    Phase.CANCELLING: frozenset({Phase.CANCELLED}),
    Phase.COMPLETED: frozenset(),  # terminal: written down, not implied
    Phase.FAILED: frozenset(),
    Phase.CANCELLED: frozenset(),
    Phase.EXPIRED: frozenset(),
}

TERMINAL: Final = frozenset(phase for phase, following in TRANSITIONS.items() if not following)


class IllegalMove(Exception):  # noqa: N818  # the name says the move, as in the table
    """A move that the table does not have: a bug of ours, never a user's fault."""

    def __init__(self, current: Phase, wanted: Phase) -> None:
        allowed = ", ".join(sorted(TRANSITIONS[current])) or "nothing, it is final"
        super().__init__(f"a session cannot move from {current} to {wanted}; allowed: {allowed}")
        self.current = current
        self.wanted = wanted


def can_move(current: Phase, wanted: Phase) -> bool:
    """Say whether a session may be in `wanted` right after `current`; staying is always allowed."""
    return wanted is current or wanted in TRANSITIONS[current]


def move(current: Phase | None, wanted: Phase) -> Phase:
    """Return `wanted`, if the table allows it from `current`; a session without a phase counts as Pending.

    Raises:
        IllegalMove: The table has no such edge.
    """
    before = current or Phase.PENDING
    if not can_move(before, wanted):
        raise IllegalMove(before, wanted)
    return wanted
