"""Manifests with something wrong, each by a sentence that says what; the words that the product must find for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.e2e.product import Json

PLAIN_RULE = {"answer": {"text": "done"}}


@dataclass(frozen=True)
class Fault:
    """A session with something wrong, and what mends it."""

    spec: Json
    reason: str
    words: tuple[str, ...]
    """What the message must name: field, object, remedy."""
    before: tuple[Json, ...] = ()
    repair: tuple[Json, ...] = ()
    """Applied later; empty where only another session helps."""


def a_config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def a_provider(name: str, rule: Json, model: str = "script") -> Json:
    spec = {"type": "Scripted", "models": [{"name": model}], "script": {"rules": [rule]}}
    return {
        "apiVersion": "agentsessions.dev/v1alpha1",
        "kind": "ModelProvider",
        "metadata": {"name": name},
        "spec": spec,
    }


def a_storage_class(name: str, like: Json) -> Json:
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    return {**kind, "provisioner": like["provisioner"], "volumeBindingMode": like["volumeBindingMode"]}


def a_file(path: str, name: str, key: str) -> Json:
    return {"path": path, "configMapKeyRef": {"name": name, "key": key}}


def by(provider: str, model: str | None = None) -> Json:
    named = {} if model is None else {"name": model}
    return {"agents": [{"name": "agent", "model": {"providerRef": {"name": provider}, **named}}]}


REFERENCES = {
    "a ConfigMap that is not there": Fault(
        {"context": {"configMapKeyRef": {"name": "later", "key": "text"}}},
        "ConfigMapNotFound",
        ("spec.context.configMapKeyRef", "'later'", "create it"),
        repair=(a_config_map("later", text="now it is"),),
    ),
    "a key for the prompt that its ConfigMap does not have": Fault(
        {"context": {"configMapKeyRef": {"name": "no-key", "key": "text"}}},
        "ConfigMapKeyNotFound",
        ("spec.context.configMapKeyRef", "'text'", "'no-key'", "add it"),
        before=(a_config_map("no-key", other="x"),),
        repair=(a_config_map("no-key", other="x", text="now it is"),),
    ),
    "a key for a file that its ConfigMap does not have": Fault(
        {"context": {"files": [a_file("in/a.csv", "no-file", "a.csv")]}},
        "ConfigMapKeyNotFound",
        ("spec.context.files[in/a.csv]", "'a.csv'", "'no-file'", "add it"),
        before=(a_config_map("no-file", other="x"),),
        repair=(a_config_map("no-file", **{"a.csv": "a,b"}),),
    ),
    "files that are too large together": Fault(
        {"context": {"files": [a_file("a", "big-a", "data"), a_file("b", "big-b", "data")]}},
        "ContextTooLarge",
        ("spec.context", "1,200,000 bytes", "at most 1,000,000", "shorten it"),
        before=(a_config_map("big-a", data="x" * 600_000), a_config_map("big-b", data="x" * 600_000)),
        repair=(a_config_map("big-b", data="x"),),
    ),
    "a text from a ConfigMap that is too long for a prompt": Fault(
        {"context": {"configMapKeyRef": {"name": "long", "key": "text"}}},
        "ContextTooLarge",
        ("spec.context.configMapKeyRef", "300,000 bytes", "at most 262,144"),
        before=(a_config_map("long", text="x" * 300_000),),
        repair=(a_config_map("long", text="short"),),
    ),
    "a JSON context that is too long for a prompt": Fault(
        {"context": {"json": {"rows": "x" * 300_000}}},
        "ContextTooLarge",
        ("spec.context.json", "at most 262,144", "shorten it"),
    ),
    "a provider that does not exist": Fault(
        by("absent"),
        "ProviderNotFound",
        ("agent agent: model.providerRef", "'absent'", "create it, or name another"),
        repair=(a_provider("absent", PLAIN_RULE),),
    ),
    "a provider with a broken regular expression": Fault(
        by("bad-regex"),
        "ProviderInvalid",
        ("'bad-regex'", "not ready", "rule 1", "when.text is not a regular expression"),
        before=(a_provider("bad-regex", {"when": {"text": "("}, **PLAIN_RULE}),),
        repair=(a_provider("bad-regex", PLAIN_RULE),),
    ),
    "a provider that quotes what nobody captured": Fault(
        by("bad-quote"),
        "ProviderInvalid",
        ("'bad-quote'", "${figure}", "not under capture", "known are goal"),
        before=(a_provider("bad-quote", {"answer": {"text": "it is ${figure}"}}),),
        repair=(a_provider("bad-quote", PLAIN_RULE),),
    ),
    "a model that its provider does not offer": Fault(
        by("one-model", "large"),
        "ModelNotFound",
        ("agent agent: model.name", "'large'", "'one-model'", "it has script"),
        before=(a_provider("one-model", PLAIN_RULE),),
        repair=(a_provider("one-model", PLAIN_RULE, model="large"),),
    ),
}

UNFIT = {
    "an image that is nowhere": Fault(
        {"agents": [{"name": "agent", "image": "localhost/nothing:1"}]},
        "ImagePullBackOff",
        ("'localhost/nothing:1'", "spec.agents[].image", "make it available"),
    ),
    "more cores than any node has": Fault(
        {"agents": [{"name": "agent", "resources": {"requests": {"cpu": 1000}}}]},
        "Unschedulable",
        ("Insufficient cpu", "agent agent", "lower spec.agents[].resources.requests"),
    ),
    "a workspace of a storage class that does not exist": Fault(
        {"workspace": {"size": "64Mi", "storageClassName": "not-yet"}},
        "Unschedulable",
        ("spec.workspace", "storage class 'not-yet'", "make that class provide one"),
    ),
}


def a_session(name: str = "wrong", **spec: Any) -> Json:
    kind = {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentSession", "metadata": {"name": name}}
    return {**kind, "spec": {"goal": "Say hello.", **spec}}


def with_env(name: str) -> Json:
    return a_session(agents=[{"name": "agent", "env": [{"name": name, "value": "x"}]}])


REFUSED = {
    "a context of 2 MiB": (
        a_session(context={"text": "x" * 2_097_152}),
        ("Request entity too large: limit is 3145728",),
    ),
    "a context of half a MiB": (a_session(context={"text": "x" * 524_288}), ("spec.context.text: Too long", "262144")),
    "a variable that moves the model": (with_env("OPENAI_BASE_URL"), ("env[0].name", "this name is reserved")),
    "a variable that loads code": (with_env("LD_PRELOAD"), ("env[0].name", "this name is reserved")),
    "a file outside the workspace": (
        a_session(context={"files": [a_file("../../etc/passwd", "a", "b")]}),
        ("spec.context.files[0].path", "must stay inside the workspace"),
    ),
    "a name of 53 characters": (a_session("n" * 53), ("metadata.name", "at most 52 characters")),
    "another goal for a session that lives": (
        a_session("lives", goal="Something else."),
        ("spec.goal cannot change after creation", "create a new session"),
    ),
    "an agent for a session that lives": (
        a_session("lives", agents=[{"name": "other"}]),
        ("spec.agents cannot change after creation", "create a new session"),
    ),
    "a way back for a session that was cancelled": (
        a_session("cancelled", operatingMode="Running"),
        ("a cancelled session stays cancelled", "create a new session"),
    ),
}
