"""What policies say to a call: the strictest rule wins, and what cannot be evaluated denies."""

from typing import Any

import pytest

from agentsessions.api.v1alpha1.approval import OnExpiry
from agentsessions.api.v1alpha1.policy import AgentPolicySpec, RuleAction
from agentsessions.lifecycle.expressions import ExpressionError, compile_expression, evaluate
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.policies import Call, Policy, Ruling, find_problems, questions_about, rule_on, values_of
from tests.builders import a_session

pytestmark = pytest.mark.requirement("POL-1")

CURL = Call("shell", '{"command": "curl x"}', "agent", {"costMicroUSD": 7})
A = RuleAction


def a_policy(name: str = "baseline", **spec: Any) -> Policy:
    return Policy("team", name, AgentPolicySpec.model_validate(spec))


def a_rule(action: RuleAction, when: str | None = None, name: str = "", **more: Any) -> dict[str, Any]:
    rule = {"name": name or action.lower(), "action": action, **more}
    return rule if when is None else {**rule, "when": when}


def session(labels: dict[str, str] | None = None, **spec: Any) -> SessionView:
    view = a_session().with_spec(**spec).facts().session
    return SessionView(**{name: getattr(view, name) for name in SessionView.__slots__} | {"labels": labels or {}})


def rule(*policies: Policy, call: Call = CURL, labels: dict[str, str] | None = None, **spec: Any) -> Ruling:
    ruled = session(labels, **spec)
    return rule_on(policies, ruled, call, lambda text: evaluate(text, values_of(ruled, call)))


@pytest.mark.parametrize(
    ("rules", "want"),
    [
        pytest.param([], A.ALLOW, id="no rule says anything"),
        pytest.param([a_rule(A.DENY), a_rule(A.ASK), a_rule(A.ALLOW)], A.DENY, id="Deny wins over all"),
        pytest.param([a_rule(A.ALLOW), a_rule(A.ASK)], A.ASK, id="Ask wins over Allow"),
        pytest.param([a_rule(A.DENY, "arguments.command.contains('wget')")], A.ALLOW, id="a rule that does not hold"),
        pytest.param([a_rule(A.DENY, tools=["sh*"])], A.DENY, id="a tool named with a wildcard"),
        pytest.param([a_rule(A.DENY, tools=["files"])], A.ALLOW, id="another tool"),
        pytest.param([a_rule(A.DENY, "usage.costMicroUSD > 5")], A.DENY, id="cost"),
        pytest.param([a_rule(A.ASK, "session.mode == 'FullAutonomy'")], A.ASK, id="mode"),
        pytest.param([a_rule(A.ASK, "agent == 'agent' && tool == 'shell'")], A.ASK, id="agent and tool"),
        pytest.param([a_rule(A.ALLOW, "arguments.none == 1")], A.DENY, id="an expression that fails denies"),
        pytest.param([a_rule(A.ALLOW, "nonsense(")], A.DENY, id="an expression that is none denies"),
        pytest.param([a_rule(A.ALLOW, "tool")], A.DENY, id="an expression that is not true or false denies"),
    ],
)
def test_the_strictest_rule_that_holds_decides(rules: list[dict[str, Any]], want: RuleAction) -> None:
    assert rule(a_policy(rules=rules)).action is want


SALES = [{"name": "payroll", "format": "CSV", "configMapKeyRef": {"name": "hr", "key": "a"}}]


@pytest.mark.parametrize(
    ("call", "when", "want"),
    [
        pytest.param(
            Call("http", "{}", "agent", host="api.evil.example"), "host.endsWith('.evil.example')", A.DENY, id="a host"
        ),
        pytest.param(
            Call("http", "{}", "agent", host="api.good.example"),
            "host.endsWith('.evil.example')",
            A.ALLOW,
            id="another host",
        ),
        pytest.param(CURL, "host != ''", A.ALLOW, id="a call that leaves no pod"),
        pytest.param(
            Call("sql", '{"query": "SELECT * FROM \\"PayRoll\\""}', "agent"),
            "'payroll' in dataSources",
            A.DENY,
            id="a data source, however it is written",
        ),
        pytest.param(
            Call("sql", '{"query": "SELECT 1 FROM \\u0070ayroll"}', "agent"),
            "'payroll' in dataSources",
            A.DENY,
            id="a data source behind an escape",
        ),
        pytest.param(
            Call("sql", '{"query": "SELECT payroll2 FROM my_payroll"}', "agent"),
            "'payroll' in dataSources",
            A.ALLOW,
            id="a name that only holds it",
        ),
        pytest.param(
            Call("files", '{"path": "/data/payroll.csv"}', "agent"), "'payroll' in dataSources", A.DENY, id="its file"
        ),
        pytest.param(
            Call("sql", '{"query": "SELECT 1 FROM other"}', "agent"),
            "dataSources.size() > 0",
            A.ALLOW,
            id="what is no data source",
        ),
    ],
)
def test_a_rule_may_go_by_host_and_by_data_source(call: Call, when: str, want: RuleAction) -> None:
    assert rule(a_policy(rules=[a_rule(A.DENY, when)]), call=call, dataSources=SALES).action is want


def test_a_policy_whose_expressions_are_too_long_together_is_none() -> None:
    rules = [a_rule(A.ALLOW, "tool == '" + "x" * 1000 + "'", name=f"r{number}") for number in range(17)]
    assert rule(a_policy(rules=rules)).action is A.DENY
    assert rule(a_policy(rules=rules[:16])).action is A.ALLOW


def test_only_the_expressions_that_bear_on_a_call_are_asked_about() -> None:
    bound = a_policy(rules=[
        a_rule(A.DENY, "tool == 'a'", name="one"), a_rule(A.DENY, "tool == 'b'", name="two", tools=["files"]),
        a_rule(A.DENY, "tool == 'a'", name="three"), a_rule(A.DENY, name="four"),
    ])  # fmt: skip
    other = a_policy("other", selector={"matchLabels": {"team": "b"}}, rules=[a_rule(A.DENY, "tool == 'c'")])
    broken = a_policy("broken", rules=[a_rule(A.DENY, "nonsense(")])
    assert questions_about([bound, other, broken], session(), CURL) == ("tool == 'a'",)


def test_policies_only_add_to_each_other() -> None:
    ruling = rule(a_policy("one", rules=[a_rule(A.ALLOW)]), a_policy("two", rules=[a_rule(A.DENY, name="no")]))
    assert ruling.decisive is not None
    assert (ruling.decisive.policy, ruling.decisive.rule) == ("two", "no")
    assert [found.policy for found in ruling.findings] == ["one", "two"]


def test_the_default_holds_where_no_rule_does() -> None:
    strict = a_policy(defaultAction="Deny", rules=[a_rule(A.ALLOW, "arguments.command.startsWith('ls')")])
    assert rule(strict).action is A.DENY
    assert rule(strict, call=Call("shell", '{"command": "ls"}', "agent")).action is A.ALLOW


@pytest.mark.parametrize(
    ("selector", "labels", "want"),
    [
        pytest.param(None, {}, A.DENY, id="without a selector every session is bound"),
        pytest.param({}, {}, A.DENY, id="so it is by an empty one"),
        pytest.param({"matchLabels": {"team": "a"}}, {"team": "a"}, A.DENY, id="labels fit"),
        pytest.param({"matchLabels": {"team": "a"}}, {"team": "b"}, A.ALLOW, id="labels do not fit"),
    ],
)
def test_a_policy_binds_by_its_own_selector(selector: Any, labels: dict[str, str], want: RuleAction) -> None:
    given = {} if selector is None else {"selector": selector}
    assert rule(a_policy(rules=[a_rule(A.DENY)], **given), labels=labels).action is want


def test_a_session_may_add_a_policy_and_one_that_does_not_exist_denies() -> None:
    elsewhere = a_policy("strict", selector={"matchLabels": {"team": "b"}}, rules=[a_rule(A.ASK)])
    assert rule(elsewhere, policyRef={"name": "strict"}).action is A.ASK
    missing = rule(elsewhere, policyRef={"name": "none"})
    assert missing.action is A.DENY
    assert missing.decisive is not None
    assert "AgentPolicy none, which does not exist: create it" in missing.decisive.message


def test_a_policy_of_another_namespace_says_nothing() -> None:
    assert rule(Policy("other", "p", AgentPolicySpec(default_action=A.DENY))).action is A.ALLOW


def test_a_policy_that_cannot_be_read_denies_every_session_of_the_namespace() -> None:
    assert rule(Policy("team", "p", None, "rules.0.action: wrong")).action is A.DENY


def test_a_dry_run_decides_nothing_and_is_told() -> None:
    ruling = rule(a_policy(dryRun=True, rules=[a_rule(A.DENY), a_rule(A.ALLOW, "nonsense(")]))
    assert ruling.action is A.ALLOW
    assert [(found.action, found.is_dry_run) for found in ruling.findings] == [(A.DENY, True)]


@pytest.mark.parametrize("arguments", ["no json", "[1]", '"text"', '{"a": "' + "x" * 70_000 + '"}', "[" * 100_000])
def test_arguments_that_cannot_be_judged_are_denied(arguments: str) -> None:
    assert rule(a_policy(rules=[a_rule(A.ALLOW, "true")]), call=Call("shell", arguments, "agent")).action is A.DENY


@pytest.mark.requirement("POL-2")
def test_of_several_that_ask_the_strictest_terms_hold() -> None:
    one = a_rule(A.ASK, name="one", approval={"quorum": 2, "expireAfterSeconds": 60, "onExpiry": "Allow"})
    two = a_rule(A.ASK, name="two", approval={"barOwner": True, "expireAfterSeconds": 30, "onExpiry": "Pause"})
    ruling = rule(a_policy("p", rules=[one]), a_policy("q", rules=[two]), owner="alice")
    assert ruling.decisive is not None
    terms = ruling.decisive.terms
    assert terms is not None
    assert (terms.quorum, terms.expire_after_seconds, terms.on_expiry) == (2, 30, OnExpiry.PAUSE)
    assert ruling.barred == "alice"


@pytest.mark.requirement("POL-2")
def test_a_rule_that_bars_the_owner_denies_where_nobody_knows_who_that_is() -> None:
    assert rule(a_policy(rules=[a_rule(A.ASK, approval={"barOwner": True})])).action is A.DENY


def test_what_is_wrong_with_a_policy_names_rule_and_word() -> None:
    spec = a_policy(rules=[a_rule(A.DENY, "argument.command == 'x'", name="typo")]).spec
    assert spec is not None
    (problem,) = find_problems(spec)
    assert problem.startswith("rule typo: ")
    assert "undeclared reference to 'argument.command'" in problem


@pytest.mark.parametrize("text", ["a" * 1025, "[1].map(a, [1].map(b, [1].map(c, c))) == []", "(" * 500])
def test_an_expression_that_is_too_costly_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        compile_expression(text)


def test_an_expression_that_goes_on_and_on_is_stopped() -> None:
    text = "arguments.l.all(x, arguments.l.all(y, x + y > -1))"
    values = {"tool": "t", "arguments": {"l": list(range(990))}, "agent": "a", "session": {}, "usage": {}}
    with pytest.raises(ExpressionError, match="budget"):
        evaluate(text, values)
