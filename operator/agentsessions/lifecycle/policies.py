"""What the policies of a namespace say to a call of a tool. Pure.

Of all rules that hold, in all policies that bind the session, the strictest decides: Deny over Ask over Allow. What
cannot be evaluated is denied. A policy in dry run decides nothing; what it would have decided is told beside.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from agentsessions.api.v1alpha1.approval import ApprovalTerms
from agentsessions.api.v1alpha1.policy import AgentPolicySpec, PolicyRule, RuleAction
from agentsessions.lifecycle.expressions import (
    MAX_ARGUMENT_BYTES,
    MAX_ARGUMENT_VALUES,
    ExpressionError,
    compile_expression,
    count_values,
)
from agentsessions.lifecycle.facts import SessionView

STRICTNESS: Final = (RuleAction.ALLOW, RuleAction.ASK, RuleAction.DENY)
DEFAULT_RULE: Final = "(default)"
"""Named in place of a rule where none of a policy's held."""
MAX_EXPRESSIONS: Final = 16_384
"""Characters of all expressions of one policy."""
Evaluate = Callable[[str], bool]
"""Says whether an expression holds on the call. Raises ExpressionError where that cannot be told."""
UNREADABLE: Final = "(policy)"
"""Named in place of a rule where the policy as a whole cannot be evaluated."""


@dataclass(frozen=True, slots=True)
class Policy:
    """An AgentPolicy as last seen."""

    namespace: str
    name: str
    spec: AgentPolicySpec | None
    """None when this version cannot read it."""
    problem: str = ""
    """Why not."""


class UnjudgedCallError(ExpressionError):
    """A call on which no expression can be evaluated; the text says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call that an agent asks for."""

    tool: str
    arguments: str
    """As the model wrote them: JSON, or not."""
    agent: str
    usage: Mapping[str, int] = field(default_factory=dict)
    """Spent so far: steps, tokens, toolCalls, costMicroUSD."""
    host: str = ""
    """Host that it asks: the one of an http URL, or that of the tool's server; empty when it leaves no pod."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one policy says to a call."""

    action: RuleAction
    policy: str
    rule: str
    message: str = ""
    terms: ApprovalTerms | None = None
    is_dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """What becomes of a call, and what the journal is to tell of it."""

    decisive: Finding | None = None
    """The strictest that counts; None when no policy says anything."""
    findings: tuple[Finding, ...] = ()
    """All that rules said, those of dry runs too."""

    barred: str | None = None
    """User who may not decide about it, where it is asked."""

    @property
    def action(self) -> RuleAction:
        """Allow, Ask or Deny."""
        return self.decisive.action if self.decisive else RuleAction.ALLOW


FREE: Final = Ruling()
"""No policy says anything."""


def find_problems(spec: AgentPolicySpec) -> list[str]:
    """Return what is wrong with a policy's expressions, a sentence each; nothing when all can be evaluated."""
    problems = []
    size = sum(len(rule.when or "") for rule in spec.rules)
    if size > MAX_EXPRESSIONS:
        return [f"its expressions have {size:,} characters together, {MAX_EXPRESSIONS:,} are allowed"]
    for rule in spec.rules:
        try:
            if rule.when is not None:
                compile_expression(rule.when)
        except ExpressionError as error:
            problems.append(f"rule {rule.name}: {error}")
    return problems


def is_bound(policy: Policy, session: SessionView) -> bool:
    """Tell whether a policy speaks to a session: by its selector, or because the session names it."""
    if policy.namespace != session.namespace:
        return False
    ref = session.spec.policy_ref
    if policy.spec is None or (ref is not None and ref.name == policy.name):
        return True  # nobody knows whom one binds that cannot be read
    wanted = (policy.spec.selector and policy.spec.selector.match_labels) or {}
    return all(session.labels.get(key) == value for key, value in wanted.items())


def questions_about(policies: Iterable[Policy], session: SessionView, call: Call) -> tuple[str, ...]:
    """Return the expressions that decide about a call, each once; none where it cannot be judged anyway."""
    wanted = dict[str, None]()
    for policy in policies:
        if policy.spec is not None and is_bound(policy, session) and not find_problems(policy.spec):
            wanted |= {rule.when: None for rule in policy.spec.rules if rule.when and _names(rule, call.tool)}
    return tuple(wanted)


def rule_on(policies: Iterable[Policy], session: SessionView, call: Call, evaluate: Evaluate) -> Ruling:
    """Return what becomes of a call of a session. `evaluate` knows the answers to `questions_about` it."""
    bound = [policy for policy in policies if is_bound(policy, session)]
    findings = [_judge(policy, session, call, evaluate) for policy in bound]
    ref = session.spec.policy_ref
    if ref is not None and all(policy.name != ref.name for policy in bound):
        message = f"spec.policyRef names AgentPolicy {ref.name}, which does not exist: create it"
        findings.append(Finding(RuleAction.DENY, ref.name, UNREADABLE, message))
    said = tuple(found for found in findings if found is not None)
    counting = [found for found in said if not found.is_dry_run]
    strictest = max(counting, key=lambda found: STRICTNESS.index(found.action), default=None)
    decisive = _with_terms(strictest, counting)
    is_barred = decisive is not None and decisive.terms is not None and decisive.terms.bar_owner
    return Ruling(decisive, said, session.spec.owner if is_barred else None)


def _with_terms(strictest: Finding | None, counting: list[Finding]) -> Finding | None:
    """Return an Ask with the strictest terms of all that ask: most people, shortest time, the owner barred."""
    if strictest is None or strictest.action is not RuleAction.ASK:
        return strictest
    asked = [found.terms or ApprovalTerms() for found in counting if found.action is RuleAction.ASK]
    timed = [terms for terms in asked if terms.expire_after_seconds is not None]
    first = min(timed, key=lambda terms: terms.expire_after_seconds or 0, default=asked[0])
    terms = ApprovalTerms(
        quorum=max(one.quorum for one in asked),
        bar_owner=any(one.bar_owner for one in asked),
        expire_after_seconds=first.expire_after_seconds,
        on_expiry=first.on_expiry,
    )
    return replace(strictest, terms=terms)


def _judge(policy: Policy, session: SessionView, call: Call, evaluate: Evaluate) -> Finding | None:
    """Return what one policy says; None when it leaves the call alone."""
    spec = policy.spec
    if spec is None:
        return Finding(RuleAction.DENY, policy.name, UNREADABLE, f"the policy cannot be read: {policy.problem}")
    is_dry_run = bool(spec.dry_run)
    problems = find_problems(spec)
    if problems:
        return Finding(RuleAction.DENY, policy.name, UNREADABLE, problems[0], is_dry_run=is_dry_run)
    rules = [rule for rule in spec.rules if _names(rule, call.tool)]
    try:
        found = [one for rule in rules if (one := _apply(policy, rule, session, evaluate)) is not None]
    except UnjudgedCallError as error:
        return Finding(RuleAction.DENY, policy.name, UNREADABLE, str(error), is_dry_run=is_dry_run)
    if not found and spec.default_action is not None:
        message = "no rule of the policy allows it" if spec.default_action is not RuleAction.ALLOW else ""
        found = [Finding(spec.default_action, policy.name, DEFAULT_RULE, message)]
    strictest = max(found, key=lambda one: STRICTNESS.index(one.action), default=None)
    return strictest and replace(strictest, is_dry_run=is_dry_run)


def _apply(policy: Policy, rule: PolicyRule, session: SessionView, evaluate: Evaluate) -> Finding | None:
    """Return what one rule says; None when it does not hold.

    Raises:
        UnjudgedCallError: No expression can be evaluated on the call.
    """
    try:
        if rule.when is not None and not evaluate(rule.when):
            return None
    except UnjudgedCallError:
        raise
    except ExpressionError as error:
        message = f"its expression cannot be evaluated: {error}"
        return Finding(RuleAction.DENY, policy.name, rule.name, message)
    terms = rule.approval
    if terms is not None and terms.bar_owner and session.spec.owner is None:
        message = "it bars the session's owner, and the session has no spec.owner: nobody can tell who asked"
        return Finding(RuleAction.DENY, policy.name, rule.name, message)
    return Finding(rule.action, policy.name, rule.name, rule.message or "", terms)


def _names(rule: PolicyRule, tool: str) -> bool:
    return rule.tools is None or any(fnmatchcase(tool, pattern) for pattern in rule.tools)


def values_of(session: SessionView, call: Call) -> dict[str, Any]:
    """Return what expressions may read.

    Raises:
        UnjudgedCallError: The arguments are no JSON object, or too large to be judged.
    """
    size = len(call.arguments.encode(errors="replace"))
    if size > MAX_ARGUMENT_BYTES:
        raise UnjudgedCallError(f"the arguments have {size} bytes; more than {MAX_ARGUMENT_BYTES} are not judged")
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:
        raise UnjudgedCallError(f"the arguments are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise UnjudgedCallError("the arguments are not a JSON object")
    if count_values(arguments) > MAX_ARGUMENT_VALUES:
        raise UnjudgedCallError(f"the arguments hold more than {MAX_ARGUMENT_VALUES} values, which are not judged")
    return {
        "tool": call.tool,
        "arguments": arguments,
        "agent": call.agent,
        "session": _describe(session),
        "usage": dict(call.usage),
        "host": call.host,
        "dataSources": [source.name for source in session.spec.data_sources or () if _mentions(arguments, source.name)],
    }


def _mentions(arguments: Mapping[str, Any], name: str) -> bool:
    """Tell whether a call names a data source in any of its texts: SQL has no other way to read one."""
    word = re.compile(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", re.IGNORECASE)
    return any(word.search(text) for text in _texts(arguments))


def _texts(value: object) -> Iterator[str]:
    """Yield all texts in a JSON value, names of fields too."""
    level = [value]
    while level:
        one = level.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            level.extend((*one.keys(), *one.values()))
        elif isinstance(one, list):
            level.extend(one)


def _describe(session: SessionView) -> dict[str, Any]:
    spec = session.spec
    return {
        "name": session.name,
        "namespace": session.namespace,
        "type": spec.type.value,
        "mode": spec.mode.value,
        "role": spec.role.value,
        "owner": spec.owner or "",
        "sessionId": spec.session_id or "",
        "labels": dict(session.labels),
    }
