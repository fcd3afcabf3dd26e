"""A session whose type asks for it is Completed only with a journal that was verified and sealed."""

from agentsessions.api.reasons import Reason, StopReason
from agentsessions.lifecycle.outcome import Outcome, failed
from agentsessions.lifecycle.situation import Situation


def is_not_sealed(case: Situation) -> Outcome | None:
    """Return what becomes of a session that has its last answer and no sound seal; None when it needs none, or has it.

    The gateway seals when it is asked for the level, so asking again is all that it takes.
    """
    seal = case.level.seal if case.level is not None else None
    if not case.effective.rules.is_sealed or (seal is not None and not seal.problem):
        return None
    if seal is not None:
        message = f"the journal does not verify: {seal.problem}"
        return failed(StopReason.JOURNAL_INVALID, message[:1024], rows=case.ended_rows)
    return Outcome(
        case.phase,
        Reason.AWAITING_SEAL,
        "the last answer is there, and its journal is not verified yet",
        is_settling=True,
        needs_level=case.is_level_wanted,
        wake_at=case.now + case.facts.deadlines.recheck,
    )
