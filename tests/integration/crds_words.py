"""One refusal for each CEL rule of the CRDs: how to cause it, and what the API server then says, word for word."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from tests.integration.crds_cluster import (
    ROOT,
    Manifest,
    a_provider,
    a_session,
    a_template,
    a_tool_server,
    a_webhook,
    an_agent,
    an_approval,
)

NO_CHANGE: Final = "cannot change after creation: create a new session"
QUANTITY: Final = "must be a quantity such as 500m or 1Gi"
RESOURCES: Final = "only cpu, memory and ephemeral-storage can be set"
METRICS: Final[Manifest] = {"type": "Metrics", "schedule": {"intervalSeconds": 5, "durationSeconds": 60}}
TALK: Final[Manifest] = {"conversation": {"open": True, "idleSeconds": 30, "maxHistory": 10}}
FULL: Final[Manifest] = {
    "sessionId": "rows-1",
    "owner": "kubernetes-admin",
    "context": {"text": "a"},
    "agents": an_agent(),
    "workspace": {"size": "1Gi"},
    "policyRef": {"name": "a"},
    "source": {"sessionRef": {"name": "a"}},
}


@dataclass(frozen=True)
class Rule:
    """A rule as a CRD has it."""

    kind: str
    place: str
    """Of the schema that has it; `[]` stands for items, `{}` for values."""
    message: str


@dataclass(frozen=True)
class Row:
    """What causes a rule to refuse."""

    rule: Rule
    at: str
    """The field that the refusal names."""
    begin: Manifest
    """The object to create; with a change, it is accepted."""
    status: Manifest = field(default_factory=dict)
    """Of the object before the change."""
    change: Manifest = field(default_factory=dict)
    """Merge patch of the object; of its status, if it names that."""
    words: str = ""
    """What is said, where the rule composes that."""
    beside: tuple[tuple[str, str], ...] = ()
    """What other rules say to it: field and message."""

    @property
    def said(self) -> list[tuple[str, str]]:
        """All that is said, with the field that it is said of."""
        return [(self.at, self.words or self.rule.message), *self.beside]


def rules() -> Iterator[Rule]:
    """Return every rule of every CRD."""
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        crd = yaml.safe_load(path.read_text())
        for version in crd["spec"]["versions"]:
            for place, message in _walk(version["schema"]["openAPIV3Schema"], ""):
                yield Rule(crd["spec"]["names"]["kind"], place, message)


def single_words() -> set[str]:
    """Return the messages about fields of the spec that can have one value only, so that nobody can change them."""
    crd = yaml.safe_load((ROOT / "crds" / "agentsessions.dev_agentsessions.yaml").read_text())
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    return {f"spec.{name} {NO_CHANGE}" for name, schema in spec.items() if len(schema.get("enum", ())) == 1}


def _walk(schema: Manifest, place: str) -> Iterator[tuple[str, str]]:
    yield from ((place, rule["message"]) for rule in schema.get("x-kubernetes-validations", ()))
    for name, inner in (schema.get("properties") or {}).items():
        yield from _walk(inner, f"{place}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(inner := schema.get(key), dict):
            yield from _walk(inner, place + mark)


def _new(place: str, message: str, at: str, **spec: Any) -> Row:
    """Return a session that cannot be created."""
    return Row(Rule("AgentSession", place, message), at, a_session(**spec))


def _held(name: str, value: Any, *, before: Manifest = FULL, **with_it: Any) -> Row:
    """Return a session of which a field of the spec cannot change, nor those that go with it."""
    rule = Rule("AgentSession", ".spec", f"spec.{name} {NO_CHANGE}")
    beside = tuple((f"spec.{other}", f"spec.{other} {NO_CHANGE}") for other in with_it)
    return Row(rule, f"spec.{name}", a_session(**before), change={"spec": {name: value, **with_it}}, beside=beside)


def _kept(message: str, workspace: Manifest | None, **before: Any) -> Row:
    """Return a session whose workspace cannot change so."""
    rule = Rule("AgentSession", ".spec", message)
    begin = a_session(workspace={"size": "1Gi"}, **before)
    return Row(rule, "spec.workspace", begin, change={"spec": {"workspace": workspace}})


def _talked(message: str, at: str, before: Manifest, **change: Any) -> Row:
    """Return a session whose conversation cannot change so."""
    rule = Rule("AgentSession", ".spec.conversation", message)
    return Row(rule, at, a_session(**before), change={"spec": {"conversation": change}})


def _root(message: str, at: str, phase: str, change: Manifest, words: str = "") -> Row:
    """Return a session in a phase in which it cannot change so."""
    return Row(Rule("AgentSession", "", message), at, a_session(), {"phase": phase}, change, words)


def _offer(message: str, place: str = ".spec", at: str = "spec", **spec: Any) -> Row:
    """Return a provider that cannot be created."""
    return Row(Rule("ModelProvider", place, message), at, a_provider(**spec))


def _tools(message: str, *tools: Manifest, place: str = ".spec.agents[].tools[]", at: str = "[0]") -> Row:
    """Return a session whose agent cannot have such tools."""
    return _new(place, message, f"spec.agents[0].tools{at}", agents=an_agent(tools=list(tools)))


def _answered(message: str, at: str, *, change: Manifest, before: Manifest | None = None, **request: Any) -> Row:
    """Return a question about a call that cannot be changed, or answered, so."""
    rule = Rule("SessionApproval", ".spec", message)
    return Row(rule, at, an_approval("asked", before, **request), change={"spec": change})


def _decided(message: str, at: str, change: Manifest) -> Row:
    """Return a question that is decided, and cannot change so."""
    rule = Rule("SessionApproval", "", message)
    return Row(rule, at, an_approval("decided"), {"outcome": "Approved"}, change)


def _resources(**resources: Any) -> Manifest:
    return {"agents": an_agent(resources=resources)}


_SPEC, _AGENT, _FILE = ".spec", ".spec.agents[]", {"configMapKeyRef": {"name": "a", "key": "b"}}
_SOURCES: Final = [{"name": "a", "format": "CSV", "configMapKeyRef": {"name": "a", "key": "b"}}]
_SCRIPT: Final = {"rules": [{"answer": {"text": "hello"}}]}
_PLACED, _AT, LONG_KEY = ".spec.placement", "spec.placement", "the key of a label has at most 100 characters"
_GIVE_ONE: Final = "give at most one of text, json and configMapKeyRef"
_TAKEN: Final = (
    "this name is reserved: AGENTSESSIONS_*, OPENAI_*, SSL_CERT_*, PYTHON*, LD_*, *_PROXY, PATH and HOME cannot be set"
)
_OUTSIDE: Final = "path must stay inside the workspace: relative, without '.', '..' or empty parts"
_FINISHED: Final = "session is finished: operatingMode cannot change; create a new session"
_TOGETHER: Final = "spec.conversation cannot be added or removed after creation: create a new session"

_TWO: Final = [{"name": "a"}, {"name": "b"}]
_BESIDE: Final = {"strategy": "Parallel"}
_WAITS: Final = [{"name": "a"}, {"name": "b", "dependsOn": ["a"]}]

ROWS: Final[dict[str, Row]] = {
    "several agents without a strategy": _new(
        _SPEC,
        "several agents need spec.coordination.strategy: Sequential, Parallel, Handoff or Director",
        "spec.agents",
        agents=_TWO,
    ),
    "a strategy without agents": _new(
        _SPEC,
        "spec.coordination.strategy is for several agents: name at least two in spec.agents, or leave it out",
        "spec.coordination",
        coordination=_BESIDE,
    ),
    "handoffs of agents side by side": _new(
        _SPEC,
        "spec.coordination.maxHandoffs belongs to the strategies Handoff and Director",
        "spec.coordination",
        agents=_TWO,
        coordination={**_BESIDE, "maxHandoffs": 2},
    ),
    "going on where one has the conversation": _new(
        _SPEC,
        "spec.coordination.onFailure belongs to the strategies Sequential, Parallel and Director",
        "spec.coordination",
        agents=_TWO,
        coordination={"strategy": "Handoff", "onFailure": "Continue"},
    ),
    "an agent that waits for nobody": _new(
        _SPEC,
        "spec.agents[].dependsOn names other agents of the session",
        "spec.agents",
        agents=[{"name": "a"}, {"name": "b", "dependsOn": ["c"]}],
        coordination=_BESIDE,
    ),
    "an order under a director": _new(
        _SPEC,
        "spec.agents[].dependsOn belongs to the strategies Sequential and Parallel",
        "spec.agents",
        agents=_WAITS,
        coordination={"strategy": "Director"},
    ),
    "an image among several": _new(
        _SPEC,
        "an agent with an image of its own works alone: only the runner of the installation takes part in several",
        "spec.agents",
        agents=[{"name": "a"}, {"name": "b", "image": "mine:1"}],
        coordination=_BESIDE,
    ),
    "rounds of several agents": _new(
        _SPEC,
        "type Metrics runs its goal in rounds, with one agent: leave one in spec.agents",
        "spec.agents",
        agents=_TWO,
        coordination=_BESIDE,
        type="Metrics",
        schedule={"intervalSeconds": 5, "durationSeconds": 60},
    ),
    "a conversation with agents side by side": _new(
        _SPEC,
        "spec.conversation with several agents needs the strategy Handoff or Director",
        "spec.conversation",
        agents=_TWO,
        coordination=_BESIDE,
        conversation={"open": True},
    ),
    "another coordination": _held(
        "coordination",
        {"strategy": "Sequential"},
        before={"agents": _TWO, "coordination": _BESIDE},
    ),
    "a name too long": Row(
        Rule("AgentSession", "", "metadata.name is too long: use at most 52 characters"),
        "metadata.name",
        a_session("n" * 53),
    ),
    "a finished session": _root(
        _FINISHED,
        "spec.operatingMode",
        "Completed",
        {"spec": {"operatingMode": "Paused"}},
        "session is finished (Completed): operatingMode cannot change; create a new session",
    ),
    "a finished session at another place": _root(
        "session is finished: spec.placement cannot change; create a new session",
        "spec.placement",
        "Completed",
        {"spec": {"placement": {"nodeSelector": {"pool": "gpu"}}}},
        "session is finished (Completed): spec.placement cannot change; create a new session",
    ),
    "a finished session with another workspace": Row(
        Rule("AgentSession", "", "session is finished: spec.workspace cannot change; create a new session"),
        "spec.workspace",
        a_session(workspace={"size": "1Gi"}),
        {"phase": "Failed"},
        {"spec": {"workspace": {"size": "2Gi"}}},
        "session is finished (Failed): spec.workspace cannot change; create a new session",
    ),
    "no phase any more": _root(
        "status.phase cannot be removed once it is set: keep it when you write status",
        "status.phase",
        "Running",
        {"status": {"phase": None}},
    ),
    "a move that the table has not": _root(
        "status.phase must move by the table in docs/states.md",
        "status.phase",
        "Completed",
        {"status": {"phase": "Running"}},
        "status.phase cannot move from Completed to Running: see the table in docs/states.md",
    ),
    "a cancelled session": Row(
        Rule("AgentSession", _SPEC, "a cancelled session stays cancelled: create a new session instead"),
        "spec",
        a_session(operatingMode="Cancelled"),
        change={"spec": {"operatingMode": "Running"}},
    ),
    "nothing to do": _new(
        _SPEC,
        "give spec.goal, or set spec.conversation.open to true, or name a template in spec.templateRef",
        "spec",
        goal=None,
    ),
    "an audit that talks": _new(
        _SPEC,
        "type Audit takes no spec.conversation: its journal is sealed after the last answer",
        "spec",
        type="Audit",
        **TALK,
    ),
    "queries of nothing": _new(
        _SPEC, "mode Query needs spec.dataSources: they are all that its agents can read", "spec", mode="Query"
    ),
    "a conversation later": Row(
        Rule("AgentSession", _SPEC, _TOGETHER), "spec.conversation", a_session(), change={"spec": TALK}
    ),
    "rounds without a schedule": _new(
        _SPEC, "spec.schedule belongs to type Metrics, and type Metrics needs it", "spec", type="Metrics"
    ),
    "rounds that talk": _new(
        _SPEC, "type Metrics needs spec.goal and takes no spec.conversation", "spec", **METRICS, **TALK
    ),
    "an observer of nothing": _new(
        _SPEC,
        "role Observer needs spec.monitors, the sessions that it sees, and no other role takes them",
        "spec.monitors",
        role="Observer",
    ),
    "a department that ends with its first task": _new(
        _SPEC,
        "role Department serves one task after the other: set spec.conversation.open to true",
        "spec",
        role="Department",
    ),
    "a director with a director": _new(
        _SPEC,
        "spec.directorRef and spec.capabilities belong to the roles Department and Worker",
        "spec",
        role="Director",
        directorRef={"name": "boss"},
    ),
    "a director by the clock": _new(
        _SPEC,
        "role Director takes no type Metrics: its work ends with the answers of its departments, not with the time",
        "spec",
        role="Director",
        **METRICS,
    ),
    "a worker with sessions of its own": _new(
        _SPEC,
        "spec.childSessions belongs to role Director in mode FullAutonomy, with type Custom or Simulation",
        "spec.childSessions",
        childSessions={"max": 1},
    ),
    "another role": _held("role", "Director"),
    "other child sessions": _held(
        "childSessions", {"max": 2}, before={"role": "Director", "childSessions": {"max": 1}}
    ),
    "another director": _held("directorRef", {"name": "other"}, before={"directorRef": {"name": "boss"}}),
    "another type": _held("type", "Custom", before=METRICS, schedule=None),
    "another mode": _held("mode", "Analysis"),
    "other data sources": _held("dataSources", _SOURCES),
    "another template": _held("templateRef", {"name": "analyst"}),
    "another own id": _held("sessionId", "rows-2"),
    "another owner": _held("owner", "somebody"),
    "another goal": _held("goal", "another"),
    "another context": _held("context", {"text": "b"}),
    "other agents": _held("agents", an_agent(instructions="another")),
    "another schedule": _held("schedule", {"intervalSeconds": 6}, before=METRICS),
    "a workspace that is taken away": _kept(
        "spec.workspace cannot be added or removed after creation: create a new session", None
    ),
    "a smaller workspace": _kept(
        "spec.workspace.size can only grow: create a new session for a smaller one", {"size": "512Mi"}
    ),
    "a workspace that outlives its session from now on": _kept(
        "spec.workspace.whenDeleted cannot change after creation: create a new session", {"whenDeleted": "Retain"}
    ),
    "another class for several agents": _kept(
        "spec.workspace.storageClassName cannot change in a session of several agents: create a new session",
        {"storageClassName": "fast"},
        agents=[{"name": "one"}, {"name": "two"}],
        coordination={"strategy": "Parallel"},
    ),
    "a long label of a node": _new(
        f"{_PLACED}.nodeSelector", LONG_KEY, f"{_AT}.nodeSelector", placement={"nodeSelector": {"k" * 101: "a"}}
    ),
    "a long label of other sessions": _new(
        f"{_PLACED}.sessionAffinity[].selector.matchLabels",
        LONG_KEY,
        f"{_AT}.sessionAffinity[0].selector.matchLabels",
        placement={"sessionAffinity": [{"selector": {"matchLabels": {"k" * 101: "a"}}}]},
    ),
    "a taint of any value, and of one": _new(
        f"{_PLACED}.tolerations[]",
        "operator Exists takes no value",
        f"{_AT}.tolerations[0].value",
        placement={"tolerations": [{"key": "gpu", "operator": "Exists", "value": "a"}]},
    ),
    "a while on a node that takes no new pods": _new(
        f"{_PLACED}.tolerations[]",
        "tolerationSeconds belongs to effect NoExecute",
        f"{_AT}.tolerations[0].tolerationSeconds",
        placement={"tolerations": [{"key": "gpu", "effect": "NoSchedule", "tolerationSeconds": 5}]},
    ),
    "another source": _held("source", {"sessionRef": {"name": "b"}}),
    "another replay": _held("replay", {"of": {"name": "b"}}, before={"goal": None, "replay": {"of": {"name": "a"}}}),
    "rounds that are forked": _new(
        _SPEC,
        "type Metrics takes no spec.replay, and of spec.source only history Reset: rounds begin anew",
        "spec",
        **METRICS,
        source={"sessionRef": {"name": "a"}},
    ),
    "a copy of files to nowhere": _new(
        _SPEC,
        "spec.source.workspace Copy needs spec.workspace: a volume to copy to",
        "spec.workspace",
        source={"sessionRef": {"name": "a"}, "workspace": "Copy"},
    ),
    "a replay that talks": _new(
        _SPEC,
        "spec.replay says what happens: leave out spec.source and spec.conversation",
        "spec",
        replay={"of": {"name": "a"}},
        **TALK,
    ),
    "a step of no history": _new(
        ".spec.source",
        "atStep says how much is copied: leave it out, or set history to Copy",
        "spec.source",
        source={"sessionRef": {"name": "a"}, "atStep": 1, "history": "Reset"},
    ),
    "tools of a replay that runs them all": _new(
        ".spec.replay",
        "tools belongs to mode Recorded: in mode Live all tools run",
        "spec.replay",
        replay={"of": {"name": "a"}, "mode": "Live", "tools": "RunInternal"},
    ),
    "two contexts": _new(".spec.context", _GIVE_ONE, "spec.context", context={"text": "a", "json": {"a": 1}}),
    "a file elsewhere": _new(
        ".spec.context.files[].path",
        _OUTSIDE,
        "spec.context.files[0].path",
        context={"files": [{"path": "../a", **_FILE}]},
    ),
    "a request for something else": _new(
        f"{_AGENT}.resources.requests",
        RESOURCES,
        "spec.agents[0].resources.requests",
        **_resources(requests={"example.com/gpu": "1"}),
    ),
    "a limit of something else": _new(
        f"{_AGENT}.resources.limits",
        RESOURCES,
        "spec.agents[0].resources.limits",
        **_resources(limits={"example.com/gpu": "1"}),
    ),
    "a request of no quantity": _new(
        f"{_AGENT}.resources.requests{{}}",
        QUANTITY,
        "spec.agents[0].resources.requests[cpu]",
        **_resources(requests={"cpu": "much"}),
    ),
    "a limit of no quantity": _new(
        f"{_AGENT}.resources.limits{{}}",
        QUANTITY,
        "spec.agents[0].resources.limits[cpu]",
        **_resources(limits={"cpu": "much"}),
    ),
    "a reserved variable": _new(
        f"{_AGENT}.env[].name",
        _TAKEN,
        "spec.agents[0].env[0].name",
        agents=an_agent(env=[{"name": "PATH", "value": "/"}]),
    ),
    "a tool that is nothing": _tools("name either builtin or serverRef", {}),
    "a server without its tools": _tools("serverRef needs allow, and builtin takes none", {"serverRef": {"name": "a"}}),
    "a tool Http for no host": _tools(
        "builtin Http needs allowHosts, and no other tool takes them", {"builtin": "Shell", "allowHosts": ["a.example"]}
    ),
    "methods for no tool Http": _tools(
        "allowMethods is for builtin Http alone", {"builtin": "Shell", "allowMethods": ["GET"]}
    ),
    "a builtin twice": _tools(
        "each builtin may stand once in tools",
        {"builtin": "Shell"},
        {"builtin": "Shell"},
        place=".spec.agents[].tools",
        at="",
    ),
    "a server twice": _tools(
        "each serverRef may stand once in tools: name all of its tools in one allow",
        {"serverRef": {"name": "a"}, "allow": ["b"]},
        {"serverRef": {"name": "a"}, "allow": ["c"]},
        place=".spec.agents[].tools",
        at="",
    ),
    "a header of the protocol": Row(
        Rule("ToolServer", ".spec.headers[].name", "this header belongs to the protocol: name another"),
        "spec.headers[0].name",
        a_tool_server(headers=[{"name": "Mcp-Session-Id", "secretKeyRef": {"name": "a", "key": "b"}}]),
    ),
    "another wait": _talked(
        f"spec.conversation.idleSeconds {NO_CHANGE}", "spec.conversation.idleSeconds", TALK, idleSeconds=31
    ),
    "another window": _talked(
        f"spec.conversation.maxHistory {NO_CHANGE}", "spec.conversation.maxHistory", TALK, maxHistory=None
    ),
    "a conversation opened again": _talked(
        "spec.conversation.open can only change to false: create a new session to talk on",
        "spec.conversation.open",
        {"conversation": {"open": False}},
        open=True,
    ),
    "a workspace of no size": _new(".spec.workspace.size", QUANTITY, "spec.workspace.size", workspace={"size": "big"}),
    "a real provider nowhere": _offer("type OpenAICompatible needs url and takes no script", type="OpenAICompatible"),
    "a scripted provider somewhere": _offer(
        "type Scripted needs script and takes neither url nor apiKeySecretRef",
        type="Scripted",
        script=_SCRIPT,
        url="https://example.com",
    ),
    "another type of provider": Row(
        Rule("ModelProvider", _SPEC, "type is immutable: create a provider with another name"),
        "spec",
        a_provider(type="Scripted", script=_SCRIPT),
        change={"spec": {"type": "OpenAICompatible", "url": "https://example.com", "script": None}},
    ),
    "an answer of nothing": _offer(
        "an answer needs text, toolCalls or error",
        ".spec.script.rules[].answer",
        "spec.script.rules[0].answer",
        type="Scripted",
        script={"rules": [{"answer": {"delayMilliseconds": 5}}]},
    ),
    "a policy session without a policy": _new(
        _SPEC,
        "type Policy needs spec.policyRef: the policy whose violations it is to list",
        "spec.policyRef",
        type="Policy",
    ),
    "another policy": _held("policyRef", {"name": "b"}),
    "terms without a question": Row(
        Rule(
            "AgentPolicy",
            ".spec.rules[]",
            "approval says how a call is decided: it belongs to action Ask",
        ),
        "spec.rules[0].approval",
        {
            "apiVersion": "agentsessions.dev/v1alpha1",
            "kind": "AgentPolicy",
            "metadata": {"name": "refused"},
            "spec": {"rules": [{"name": "no", "action": "Deny", "approval": {"quorum": 2}}]},
        },
    ),
    "a question of another session": _answered(
        "spec.session cannot change", "spec.session", change={"session": "another"}
    ),
    "another question": _answered("spec.request cannot change", "spec.request", change={"request": {"tool": "files"}}),
    "another answer": _answered(
        "a decision stays as it was first made",
        "spec.decisions",
        change={"decisions": {"amy": {"answer": "Deny"}}},
        before={"amy": {"answer": "Approve"}},
    ),
    "an answer to something else": _answered(
        "answer an Approval with Approve or Deny, and a Doubt with Happened or RunAgain",
        "spec.decisions",
        change={"decisions": {"amy": {"answer": "RunAgain"}}},
    ),
    "a result of nothing": _answered(
        "give `output`, the result that the call had, with Happened and with no other answer",
        "spec.decisions",
        change={"decisions": {"amy": {"answer": "Happened"}}},
        kind="Doubt",
    ),
    "an answer too late": _decided(
        "it is decided: what comes later does not count",
        "spec",
        {"spec": {"decisions": {"amy": {"answer": "Deny"}}}},
    ),
    "a webhook in the clear": Row(
        Rule(
            "SessionWebhook",
            ".spec.url",
            "url must begin with https://; http:// is for services of the cluster: http://name.namespace.svc",
        ),
        "spec.url",
        a_webhook(url="http://hooks.example.com/in"),
    ),
    "another outcome": _decided(
        "status.outcome cannot change once it is set", "status", {"status": {"outcome": "Denied"}}
    ),
}
ROWS |= {
    f"{name}, in a template": Row(
        Rule("AgentSessionTemplate", row.rule.place.replace(_SPEC, ".spec.session", 1), row.rule.message),
        row.at.replace("spec", "spec.session", 1),
        a_template(session=row.begin["spec"]),
    )
    for name, row in list(ROWS.items())
    if row.rule.kind == "AgentSession" and row.rule.place.startswith(f"{_SPEC}.") and not row.change
    if row.rule.place not in {f"{_SPEC}.source", f"{_SPEC}.replay"}  # which sessions alone have
}
ROWS["a reserved variable, for all agents"] = Row(
    Rule("AgentSessionTemplate", ".spec.env[].name", _TAKEN),
    "spec.env[0].name",
    a_template(env=[{"name": "PATH", "value": "/"}]),
)
