"""Write docs/states.md from the phase table: `python hack/docs/states.py [--check]`."""

import sys

from agentsessions.api.reasons import Phase
from agentsessions.lifecycle.conditions import READY, RECONCILING, STALLED
from agentsessions.lifecycle.phases import TERMINAL, TRANSITIONS
from hack.generated import REPAIR, ROOT, write_or_check

TARGET = ROOT / "docs" / "states.md"


def render() -> str:
    """Return the page."""
    lines = [
        "# Phases",
        "",
        f"<!-- generated from operator/agentsessions/lifecycle/phases.py by `{REPAIR}`; do not edit -->",
        "",
        "An edge exists wherever its middle states may go unobserved (the operator was away).",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> Pending",
    ]
    lines += [f"    {current} --> {after}" for current in Phase for after in Phase if after in TRANSITIONS[current]]
    lines += [f"    {phase} --> [*]" for phase in Phase if phase in TERMINAL]
    lines += ["```", "", "| from | to | kstatus |", "|---|---|---|"]
    for current in Phase:
        after = ", ".join(phase for phase in Phase if phase in TRANSITIONS[current])
        lines.append(f"| {current} | {after or 'final'} | {_kstatus(current)} |")
    return "\n".join(lines) + "\n"


def _kstatus(phase: Phase) -> str:
    """Return the conditions that are True in `phase`, as kstatus reads them."""
    sets = {"Ready": READY, "Reconciling": RECONCILING, "Stalled": STALLED}
    return ", ".join(name for name, phases in sets.items() if phase in phases) or "none (Ready=False)"


if __name__ == "__main__":
    sys.exit(write_or_check({TARGET: render()}, "the phases"))
