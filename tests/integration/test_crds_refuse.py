"""Wrong manifests, on a real API server: each is refused where it is made, in words that name the field and the remedy.

What only the operator can see (a missing ConfigMap key, a missing provider, a regular expression that does not compile)
is told by conditions, and tested with the controller.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.crds_cluster import Kubectl, Manifest, a_provider, a_session, an_agent, fresh_namespace

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

A_FILE = {"path": "a.csv", "configMapKeyRef": {"name": "a", "key": "a.csv"}}
A_SCRIPT = {"rules": [{"answer": {"text": "hello"}}]}


@pytest.fixture(scope="module")
def kubectl() -> Iterator[Kubectl]:
    with fresh_namespace("crds-refuse") as kubectl:
        yield kubectl


def a_file(path: str) -> Manifest:
    return {"files": [A_FILE | {"path": path}]}


def a_limit(**limits: Any) -> Manifest:
    return a_session(limits=limits)


TWO = [{"name": "a"}, {"name": "b"}]


def a_team(strategy: str, *agents: Manifest) -> Manifest:
    return a_session(agents=list(agents), coordination={"strategy": strategy})


def a_rule(answer: Manifest) -> Manifest:
    return a_provider(type="Scripted", script={"rules": [{"answer": answer}]})


WRONG_SESSIONS = {
    "a goal or a conversation is needed": (
        a_session(goal=None),
        "spec",
        "give spec.goal, or set spec.conversation.open to true",
    ),
    "an empty goal is none": (a_session(goal=""), "spec.goal", "at least 1 chars"),
    "a goal has an end": (a_session(goal="x" * 40_000), "spec.goal", "may not be more than 32768"),
    "a field that is not there is not dropped silently": (a_session(gaol="typo"), "spec.gaol", "unknown field"),
    "only an observer sees others": (
        a_session(monitors=["department-*"]),
        "spec.monitors",
        "no other role takes them",
    ),
    "an observer sees somebody": (a_session(role="Observer"), "spec.monitors", "role Observer needs spec.monitors"),
    "what an observer sees is named": (
        a_session(role="Observer", monitors=["Department 1"]),
        "spec.monitors[0]",
        "should match",
    ),
    "a long name leaves no room for its pods": (a_session("n" * 53), "metadata.name", "at most 52 characters"),
    "types are a closed set": (a_session(type="Magic"), "spec.type", 'supported values: "Custom", "Metrics"'),
    "modes are a closed set": (a_session(mode="Yolo"), "spec.mode", 'supported values: "FullAutonomy"'),
    "roles are a closed set": (a_session(role="King"), "spec.role", 'supported values: "Director", "Department", '),
    "operating modes are a closed set": (
        a_session(operatingMode="Stopped"),
        "spec.operatingMode",
        'supported values: "Running", "Paused", "Cancelled"',
    ),
    "context is text or JSON, not both": (
        a_session(context={"text": "a", "json": {"a": 1}}),
        "spec.context",
        "at most one of text, json and configMapKeyRef",
    ),
    "context in JSON is an object": (a_session(context={"json": [1]}), "spec.context.json", "must be of type object"),
    "a file's path is relative": (
        a_session(context=a_file("/etc/passwd")),
        "spec.context.files[0].path",
        "must stay inside the workspace",
    ),
    "a file's path does not climb": (
        a_session(context=a_file("a/../../b")),
        "spec.context.files[0].path",
        "without '.', '..' or empty parts",
    ),
    "a file comes from somewhere": (
        a_session(context={"files": [{"path": "a.csv"}]}),
        "spec.context.files[0].configMapKeyRef",
        "Required value",
    ),
    "two files cannot have one path": (
        a_session(context={"files": [A_FILE, A_FILE]}),
        "spec.context.files[1]",
        "Duplicate value",
    ),
    "several agents need a strategy": (
        a_session(agents=TWO),
        "spec.agents",
        "several agents need spec.coordination.strategy",
    ),
    "a session has eight agents at most": (
        a_team("Parallel", *({"name": f"a{n}"} for n in range(9))),
        "spec.agents",
        "must have at most 8 items",
    ),
    "one agent needs no strategy": (
        a_team("Parallel", {"name": "a"}),
        "spec.coordination",
        "is for several agents",
    ),
    "agents depend on others of the session": (
        a_team("Parallel", {"name": "a"}, {"name": "b", "dependsOn": ["nobody"]}),
        "spec.agents",
        "dependsOn names other agents of the session",
    ),
    "and not on themselves": (
        a_team("Parallel", {"name": "a"}, {"name": "b", "dependsOn": ["b"]}),
        "spec.agents",
        "dependsOn names other agents of the session",
    ),
    "a director's agents wait for nobody": (
        a_team("Director", {"name": "a"}, {"name": "b", "dependsOn": ["a"]}),
        "spec.agents",
        "belongs to the strategies Sequential and Parallel",
    ),
    "handoffs belong to those who hand over": (
        a_session(agents=TWO, coordination={"strategy": "Parallel", "maxHandoffs": 2}),
        "spec.coordination",
        "belongs to the strategies Handoff and Director",
    ),
    "an image of its own works alone": (
        a_team("Parallel", {"name": "a"}, {"name": "b", "image": "mine:1"}),
        "spec.agents",
        "works alone",
    ),
    "people talk with one agent at a time": (
        a_session(agents=TWO, coordination={"strategy": "Parallel"}, conversation={"open": True}),
        "spec.conversation",
        "needs the strategy Handoff or Director",
    ),
    "an agent's name is a DNS label": (
        a_session(agents=an_agent(name="Worker_1")),
        "spec.agents[0].name",
        "should match '^[a-z0-9]",
    ),
    "an agent's name is short": (
        a_session(agents=an_agent(name="a" * 21)),
        "spec.agents[0].name",
        "may not be more than 20",
    ),
    "tools are a closed set": (
        a_session(agents=an_agent(tools=[{"builtin": "Browser"}])),
        "spec.agents[0].tools[0].builtin",
        'supported values: "Shell", "Files"',
    ),
    "a tool is named once": (
        a_session(agents=an_agent(tools=[{"builtin": "Shell"}, {"builtin": "Shell"}])),
        "spec.agents[0].tools",
        "each builtin may stand once in tools",
    ),
    "an amount is a quantity": (
        a_session(agents=an_agent(resources={"limits": {"memory": "1 gigabyte"}})),
        "spec.agents[0].resources.limits[memory]",
        "must be a quantity such as 500m or 1Gi",
    ),
    "only some resources can be asked for": (
        a_session(agents=an_agent(resources={"requests": {"example.com/gpu": "1"}})),
        "spec.agents[0].resources.requests",
        "only cpu, memory and ephemeral-storage",
    ),
    "traffic cannot be sent through a proxy": (
        a_session(agents=an_agent(env=[{"name": "https_proxy", "value": "http://evil"}])),
        "spec.agents[0].env[0].name",
        "this name is reserved",
    ),
    "the model's address cannot be replaced": (
        a_session(agents=an_agent(env=[{"name": "OPENAI_BASE_URL", "value": "http://evil"}])),
        "spec.agents[0].env[0].name",
        "OPENAI_*",
    ),
    "a value from a Secret is not for agents": (
        a_session(agents=an_agent(env=[{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}])),
        "spec.agents[0].env[0].valueFrom",
        "unknown field",
    ),
    "a temperature has a range": (
        a_session(agents=an_agent(model={"settings": {"temperature": 3}})),
        "spec.agents[0].model.settings.temperature",
        "less than or equal to 2",
    ),
    "no steps at all is not a limit": (a_limit(maxSteps=0), "spec.limits.maxSteps", "greater than or equal to 1"),
    "a limit is a number": (a_limit(maxTokens="many"), "spec.limits.maxTokens", "must be of type integer"),
    "a limit is a whole number": (a_limit(maxToolCalls=1.5), "spec.limits.maxToolCalls", "must be of type integer"),
    "a timeout has an end": (
        a_limit(timeoutSeconds=9_999_999),
        "spec.limits.timeoutSeconds",
        "less than or equal to 2592000",
    ),
    "retries are counted from zero": (
        a_session(retry={"maxRetries": -1}),
        "spec.retry.maxRetries",
        "greater than or equal to 0",
    ),
    "what a limit leads to is a closed set": (
        a_limit(onLimit={"tokens": "Continue"}),
        "spec.limits.onLimit.tokens",
        'supported values: "Pause", "Fail", "Complete"',
    ),
    "only limits that exist lead to anything": (
        a_limit(onLimit={"money": "Fail"}),
        "spec.limits.onLimit.money",
        "unknown field",
    ),
    "a cost is not free": (a_limit(maxCostMicroUSD=0), "spec.limits.maxCostMicroUSD", "greater than or equal to 1"),
    "a pause falls at a known place": (
        a_session(pausePolicy={"boundary": "Sentence"}),
        "spec.pausePolicy.boundary",
        'supported values: "Step", "Immediate"',
    ),
    "a pause takes some time": (
        a_session(pausePolicy={"gracePeriodSeconds": 0}),
        "spec.pausePolicy.gracePeriodSeconds",
        "greater than or equal to 1",
    ),
    "a shutdown has an end": (
        a_session(shutdown={"gracePeriodSeconds": 3601}),
        "spec.shutdown.gracePeriodSeconds",
        "less than or equal to 3600",
    ),
    "rounds need a schedule": (
        a_session(type="Metrics"),
        "spec",
        "spec.schedule belongs to type Metrics, and type Metrics needs it",
    ),
    "a schedule needs rounds": (
        a_session(schedule={"intervalSeconds": 5, "durationSeconds": 60}),
        "spec",
        "spec.schedule belongs to type Metrics, and type Metrics needs it",
    ),
    "rounds are no conversation": (
        a_session(type="Metrics", schedule={"intervalSeconds": 5, "durationSeconds": 60}, conversation={"open": True}),
        "spec",
        "type Metrics needs spec.goal and takes no spec.conversation",
    ),
    "rounds take their time": (
        a_session(type="Metrics", schedule={"intervalSeconds": 0, "durationSeconds": 60}),
        "spec.schedule.intervalSeconds",
        "greater than or equal to 1",
    ),
    "a conversation's window shows an exchange": (
        a_session(conversation={"open": True, "maxHistory": 1}),
        "spec.conversation.maxHistory",
        "greater than or equal to 2",
    ),
    "an own id has no spaces": (a_session(sessionId="my rows"), "spec.sessionId", "should match"),
    "an owner has a name": (a_session(owner=""), "spec.owner", "at least 1 chars"),
    "a priority has bounds": (a_session(priority=1001), "spec.priority", "less than or equal to 1000"),
    "an expiry is in the future": (a_session(expireAfterSeconds=0), "spec.expireAfterSeconds", "greater than or equal"),
    "a time to live is not negative": (
        a_session(ttlSecondsAfterFinished=-1),
        "spec.ttlSecondsAfterFinished",
        "greater than or equal to 0",
    ),
    "a workspace has a size": (a_session(workspace={}), "spec.workspace.size", "Required value"),
    "a workspace's size is a quantity": (
        a_session(workspace={"size": "big"}),
        "spec.workspace.size",
        "must be a quantity such as 500m or 1Gi",
    ),
    "a claim is deleted or retained": (
        a_session(workspace={"size": "1Gi", "whenDeleted": "Keep"}),
        "spec.workspace.whenDeleted",
        'supported values: "Delete", "Retain"',
    ),
}

WRONG_PROVIDERS = {
    "provider types are a closed set": (a_provider(type="Magic"), "spec.type", '"OpenAICompatible", "Scripted"'),
    "a real provider has an address": (a_provider(type="OpenAICompatible"), "spec", "OpenAICompatible needs url"),
    "a real provider has no script": (
        a_provider(type="OpenAICompatible", url="https://example.com/v1", script=A_SCRIPT),
        "spec",
        "takes no script",
    ),
    "a scripted provider has a script": (a_provider(type="Scripted"), "spec", "Scripted needs script"),
    "a scripted provider has no address": (
        a_provider(type="Scripted", script=A_SCRIPT, url="https://example.com"),
        "spec",
        "takes neither url nor apiKeySecretRef",
    ),
    "an address is HTTP": (
        a_provider(type="OpenAICompatible", url="ftp://example.com"),
        "spec.url",
        "should match '^https?://",
    ),
    "a key is not written into an address": (
        a_provider(type="OpenAICompatible", url="https://user:key@example.com"),
        "spec.url",
        "should match '^https?://",
    ),
    "a provider offers a model": (
        a_provider(type="Scripted", script=A_SCRIPT, models=[]),
        "spec.models",
        "at least 1 items",
    ),
    "a script has a rule": (a_provider(type="Scripted", script={"rules": []}), "spec.script.rules", "at least 1 items"),
    "a rule answers something": (
        a_rule({"delayMilliseconds": 5}),
        "spec.script.rules[0].answer",
        "an answer needs text, toolCalls or error",
    ),
    "a scripted failure has an error status": (
        a_rule({"error": {"status": 200}}),
        "spec.script.rules[0].answer.error.status",
        "greater than or equal to 400",
    ),
}

WRONG_MANIFESTS = WRONG_SESSIONS | WRONG_PROVIDERS


@pytest.mark.requirement("LIFE-2")
@pytest.mark.parametrize(("manifest", "field", "remedy"), WRONG_MANIFESTS.values(), ids=WRONG_MANIFESTS.keys())
def test_apply_refuses(kubectl: Kubectl, manifest: Manifest, field: str, remedy: str) -> None:
    message = kubectl.refusal("apply", "--filename", "-", manifest=manifest)
    assert field in message
    assert remedy in message


@pytest.mark.requirement("OBJ-1")
def test_apply_takes_five_lines(kubectl: Kubectl) -> None:
    kubectl("apply", "--filename", "-", manifest=a_session("five-lines"))
    shown = kubectl("get", "ags", "five-lines", "--output", "jsonpath={.spec}")
    assert "FullAutonomy" in shown
    assert "limits" not in shown, "a default that the schema fills in could not be told from a choice"
