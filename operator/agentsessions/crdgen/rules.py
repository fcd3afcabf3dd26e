"""CEL rules that follow from data: what of a spec may change, and how a phase may move."""

from collections.abc import Collection, Iterable
from typing import Final

from agentsessions.api.names import MAX_SESSION_NAME
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import FINISHED_AFTER, FINISHED_BEFORE
from agentsessions.crdgen.schema import Json
from agentsessions.lifecycle.phases import TERMINAL, TRANSITIONS

RESERVED: Final = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import",
    "let", "loop", "package", "namespace", "return",
})  # fmt: skip
"""Field names that CEL writes as `__name__`.

Source: https://kubernetes.io/docs/reference/using-api/cel/#escaping
"""


def to_cel_name(field: str) -> str:
    """Return how a CEL rule names the property `field`."""
    if field in RESERVED:
        return f"__{field}__"
    escapes = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
    for plain, escaped in escapes:
        field = field.replace(plain, escaped)
    return field


def build_immutability(fields: Iterable[str], required: Collection[str], *, mutable: Collection[str]) -> list[Json]:
    """Return one rule for each field that must stay as created, be it set, changed or removed."""
    return [_immutable(field, is_required=field in required) for field in fields if field not in mutable]


def _immutable(field: str, *, is_required: bool) -> Json:
    new, old = f"self.{to_cel_name(field)}", f"oldSelf.{to_cel_name(field)}"
    same = f"{new} == {old}"
    rule = same if is_required else f"has({new}) == has({old}) && (!has({new}) || {same})"
    message = f"spec.{field} cannot change after creation: create a new session"
    return {"rule": rule, "message": message, "fieldPath": f".{field}", "reason": "FieldValueForbidden"}


def build_name_rule() -> Json:
    """Return the rule that leaves room for what is added to a session's name in the names of its children."""
    return {
        "rule": f"size(self.metadata.name) <= {MAX_SESSION_NAME}",
        "message": f"metadata.name is too long: use at most {MAX_SESSION_NAME} characters",
        "fieldPath": ".metadata.name",
    }


def build_phase_rules() -> list[Json]:
    """Return the rules by which the API server holds status.phase to the table of moves."""
    where = {"fieldPath": ".status.phase", "reason": "FieldValueForbidden"}
    had = "!has(oldSelf.status) || !has(oldSelf.status.phase)"
    has = "has(self.status) && has(self.status.phase)"
    moves = ", ".join(f"'{phase}': [{_quoted(TRANSITIONS[phase])}]" for phase in Phase)
    is_allowed = f"self.status.phase in {{{moves}}}[oldSelf.status.phase]"
    return [
        {
            "rule": f"{had} || ({has})",
            "message": "status.phase cannot be removed once it is set: keep it when you write status",
            **where,
        },
        {
            "rule": f"{had} || !({has}) || self.status.phase == oldSelf.status.phase || {is_allowed}",
            "message": "status.phase must move by the table in docs/states.md",
            "messageExpression": (
                "'status.phase cannot move from ' + oldSelf.status.phase + ' to ' + self.status.phase + "
                "': see the table in docs/states.md'"
            ),
            **where,
        },
    ]


def build_finished_rule() -> Json:
    """Return the rule by which a finished session can no more be paused, resumed or cancelled.

    Root rules run on writes of spec and of status alike, and an apply of the same manifest must stay possible: only a
    changed operatingMode counts.
    """
    is_live = f"!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in [{_quoted(TERMINAL)}])"
    return {
        "rule": f"{is_live} || self.spec.operatingMode == oldSelf.spec.operatingMode",
        "message": "session is finished: operatingMode cannot change; create a new session",
        "messageExpression": (f"'{FINISHED_BEFORE}' + oldSelf.status.phase + '{FINISHED_AFTER}'"),
        "fieldPath": ".spec.operatingMode",
        "reason": "FieldValueForbidden",
    }


def build_finished_site_rules() -> list[Json]:
    """Return the rules by which a finished session is not moved: nothing of it would ever start there."""
    return [_stays_when_finished(field) for field in ("placement", "workspace")]


def _stays_when_finished(field: str) -> Json:
    new, old = f"self.spec.{field}", f"oldSelf.spec.{field}"
    is_live = f"!has(oldSelf.status) || !has(oldSelf.status.phase) || !(oldSelf.status.phase in [{_quoted(TERMINAL)}])"
    return {
        "rule": f"{is_live} || (has({new}) == has({old}) && (!has({new}) || {new} == {old}))",
        "message": f"session is finished: spec.{field} cannot change; create a new session",
        "messageExpression": (
            f"'{FINISHED_BEFORE}' + oldSelf.status.phase + '): spec.{field} cannot change; create a new session'"
        ),
        "fieldPath": f".spec.{field}",
        "reason": "FieldValueForbidden",
    }


def _quoted(phases: Collection[Phase]) -> str:
    return ", ".join(f"'{phase}'" for phase in Phase if phase in phases)
