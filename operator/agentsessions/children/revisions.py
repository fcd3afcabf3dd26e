"""A template as it was: a ControllerRevision, whose data the API server lets nobody change.

No owner takes it along: a session must outlive the template that it was made from. The operator deletes a revision that
no session names any more (`controller.revisions`).
"""

import hashlib
import json
from typing import Any, Final

from agentsessions.api import names
from agentsessions.api.v1alpha1.template import AgentSessionTemplateSpec

LABEL_TEMPLATE: Final = f"{names.GROUP}/template"
TEMPLATE_KIND: Final = "AgentSessionTemplate"
PREFIX_LENGTH: Final = 63
HASH_LENGTH: Final = 12


def revision_name(template: str, spec: AgentSessionTemplateSpec) -> str:
    """Return the name of the revision that holds exactly this: told from the content alone."""
    text = json.dumps(spec.to_json(), sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(f"{template}/{text}".encode()).hexdigest()[:HASH_LENGTH]
    return f"{template[:PREFIX_LENGTH].rstrip('-.')}-{digest}"


def build_revision(namespace: str, template: str, generation: int, spec: AgentSessionTemplateSpec) -> dict[str, Any]:
    """Return the ControllerRevision of a template as it is now."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision_name(template, spec),
            "namespace": namespace,
            "labels": {names.LABEL_MANAGED_BY: names.MANAGER, LABEL_TEMPLATE: template},
        },
        "data": {"apiVersion": names.API_VERSION, "kind": TEMPLATE_KIND, "spec": spec.to_json()},
        "revision": generation,
    }


def read_revision(raw: dict[str, Any], template: str) -> AgentSessionTemplateSpec | None:
    """Return the template that a ControllerRevision holds; None when it is not the one that its name tells.

    Raises:
        ValidationError: This version cannot read it.
    """
    spec = AgentSessionTemplateSpec.model_validate((raw.get("data") or {}).get("spec") or {})
    return spec if revision_name(template, spec) == raw["metadata"]["name"] else None
