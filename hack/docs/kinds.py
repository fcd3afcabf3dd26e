"""Write the tables of docs/types-and-modes.md from the table of types and modes: `hack/docs/kinds.py [--check]`."""

import sys
from collections.abc import Mapping
from pathlib import Path

from agentsessions.api.kinds import BUILTINS, MODES, TYPES, ExternalEffects, Rules, ToolClass
from agentsessions.api.v1alpha1.agent import Builtin

TARGET = Path(__file__).resolve().parents[2] / "docs" / "types-and-modes.md"
REPAIR = "make generate"
BEGIN = f"<!-- generated from operator/agentsessions/api/kinds.py by `{REPAIR}`; do not edit -->"
END = "<!-- end of what is generated -->"
EFFECTS = {ExternalEffects.DO: "done", ExternalEffects.RECORD: "recorded, not done", ExternalEffects.REFUSE: "refused"}


def render(page: str) -> str:
    """Return the page with its tables anew."""
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    tables = "\n\n".join((_table("type", TYPES), _table("mode", MODES), _builtins()))
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def _table(word: str, rows: Mapping[str, Rules]) -> str:
    head = [f"| {word} | tools | effects outside | defaults | rules |", "|---|---|---|---|---|"]
    lines = [
        f"| {name} | {_classes(rules)} | {EFFECTS[rules.external]} | {_defaults(rules)} | {_rules(rules)} |"
        for name, rules in rows.items()
    ]
    return "\n".join(head + lines)


def _classes(rules: Rules) -> str:
    return ", ".join(one for one in ToolClass if one in rules.classes) if rules.holds_back else "all"


def _defaults(rules: Rules) -> str:
    return "" if rules.max_steps is None else f"`maxSteps` {rules.max_steps}"


def _rules(rules: Rules) -> str:
    told = [f"{rules.tool_rounds} answer with tool calls, then none"] if rules.tool_rounds is not None else []
    told += ["the journal is verified and sealed before Completed"] if rules.is_sealed else []
    told += [f"agents are told: “{text}”" for text in rules.brief]
    return "; ".join(told)


def _builtins() -> str:
    head = ["| built-in tool | what it does |", "|---|---|"]
    return "\n".join(head + [f"| {name} | {', '.join(sorted(BUILTINS[name]))} |" for name in Builtin])


def main() -> int:
    """Write the page, or check it."""
    before = TARGET.read_text()
    page = render(before)
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(page)
        return 0
    if before == page:
        return 0
    print(f"{TARGET.name} does not match the table of types and modes; run `{REPAIR}`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
