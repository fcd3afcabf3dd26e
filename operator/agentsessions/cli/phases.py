"""Phases as a user writes them. Pure."""

from agentsessions.api.reasons import Phase
from agentsessions.cli.failures import UsageFailure


def complete_phase(incomplete: str) -> list[str]:
    """Return phases that begin so (for shell completion)."""
    return [phase.value for phase in Phase if phase.lower().startswith(incomplete.lower())]


def to_phase(word: str) -> Phase:
    """Return the phase of that name, in whatever case.

    Raises:
        UsageFailure: There is none.
    """
    found = next((phase for phase in Phase if phase.lower() == word.lower()), None)
    if found is None:
        raise UsageFailure(f"{word!r} is no phase: write one of {', '.join(Phase)}")
    return found
