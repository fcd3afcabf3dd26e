"""Samples are sound before a cluster sees them: their fields, their scripts, their policies' expressions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentsessions.api.v1alpha1.policy import AgentPolicy
from agentsessions.api.v1alpha1.provider import ModelProvider
from agentsessions.api.v1alpha1.quota import SessionQuota
from agentsessions.api.v1alpha1.session import AgentSession
from agentsessions.api.v1alpha1.template import AgentSessionTemplate
from agentsessions.api.v1alpha1.toolserver import ToolServer
from agentsessions.lifecycle.coherence import find_contradiction
from agentsessions.lifecycle.expressions import compile_expression
from agentsessions.lifecycle.scripts import script_problems

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"
KINDS = {
    kind.__name__: kind
    for kind in (AgentPolicy, AgentSession, AgentSessionTemplate, ModelProvider, SessionQuota, ToolServer)
}


def objects() -> Iterator[Any]:
    for path in sorted(SAMPLES.rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["kind"] in KINDS:
                where = f"{path.relative_to(SAMPLES)}: {document['kind']} {document['metadata']['name']}"
                yield pytest.param(document, id=where)


@pytest.mark.parametrize("document", list(objects()))
def test_sample_is_sound(document: dict[str, Any]) -> None:
    found = KINDS[document["kind"]].model_validate({"spec": document["spec"]})
    match found:
        case ModelProvider():
            assert found.spec.script is None or script_problems(found.spec.script) == []
        case AgentPolicy():
            for rule in found.spec.rules:
                compile_expression(rule.when or "true")
        case AgentSession():
            assert find_contradiction(found.spec) is None


def test_comments_of_samples_name_what_is_there() -> None:
    """A command in a comment speaks of an object of its own file."""
    for path in SAMPLES.rglob("*.yaml"):
        text = path.read_text()
        for kind, short in (("AgentSession", "ags/"), ("SessionQuota", "sq/")):
            named = {word.split(short)[1].split()[0] for word in text.splitlines() if f"patch {short}" in word}
            made = {d["metadata"]["name"] for d in yaml.safe_load_all(text) if d["kind"] == kind}
            assert named <= made, path.name
