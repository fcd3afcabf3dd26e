"""The CustomResourceDefinitions: names, columns, rules around the schemas of the models."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from agentsessions.api.names import GROUP, VERSION
from agentsessions.api.v1alpha1.approval import SessionApproval
from agentsessions.api.v1alpha1.policy import AgentPolicy
from agentsessions.api.v1alpha1.provider import ModelProvider
from agentsessions.api.v1alpha1.quota import SessionQuota
from agentsessions.api.v1alpha1.session import MUTABLE_SPEC_FIELDS, AgentSession
from agentsessions.api.v1alpha1.template import AgentSessionTemplate
from agentsessions.api.v1alpha1.toolserver import ToolServer
from agentsessions.api.v1alpha1.webhook import SessionWebhook
from agentsessions.crdgen.lint import lint
from agentsessions.crdgen.rules import (
    build_finished_rule,
    build_finished_site_rules,
    build_immutability,
    build_name_rule,
    build_phase_rules,
)
from agentsessions.crdgen.schema import Json, SchemaError, build_schema

SESSION_DEFAULTS: Final = frozenset({"type", "mode", "role", "operatingMode"})
"""Spec fields whose defaults the API server fills in; all others must stay distinguishable from chosen."""

VALIDATIONS: Final = "x-kubernetes-validations"
READY: Final = '.status.conditions[?(@.type=="Ready")]'

ROOT_FIELDS: Final[Mapping[str, Json]] = {
    "apiVersion": {"description": "Group and version of this object's schema.", "type": "string"},
    "kind": {"description": "Kind of this object.", "type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; a wide one shows with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    is_wide: bool = False

    def to_json(self) -> Json:
        """Return the column as a CRD has it."""
        entry: Json = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.description:
            entry["description"] = self.description
        return entry | ({"priority": 1} if self.is_wide else {})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a CRD says besides its schema."""

    model: type[BaseModel]
    plural: str
    short_name: str
    columns: tuple[Column, ...]
    refine: Callable[[Json], None]
    """Adds to the schema in place what follows from more than one field."""
    categories: tuple[str, ...] = ()
    selectable: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The kind's name."""
        return self.model.__name__

    @property
    def file_name(self) -> str:
        """Name of the CRD's file."""
        return f"{GROUP}_{self.plural}.yaml"


def build_crd(kind: Kind) -> Json:
    """Return the CRD of `kind`.

    Raises:
        SchemaError: A model cannot be said in a CRD, or a field is not described or not bounded.
    """
    schema = build_schema(kind.model)
    kind.refine(schema)
    if problems := lint(schema, kind.name):
        raise SchemaError("\n".join(problems))
    schema["properties"] = {**ROOT_FIELDS, **schema["properties"]}
    version: Json = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.to_json() for column in kind.columns],
        "schema": {"openAPIV3Schema": schema},
    }
    if kind.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in kind.selectable]
    names: Json = {
        "kind": kind.name,
        "listKind": f"{kind.name}List",
        "plural": kind.plural,
        "singular": kind.name.lower(),
        "shortNames": [kind.short_name],
    }
    if kind.categories:
        names["categories"] = list(kind.categories)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def _refine_session(schema: Json) -> None:
    spec, status = schema["properties"]["spec"], schema["properties"]["status"]
    _drop_defaults(spec, keep=SESSION_DEFAULTS)
    _drop_defaults(status)
    # A field that the schema defaults is always there, as a required one is.
    always = SESSION_DEFAULTS | set(spec.get("required", ()))
    spec[VALIDATIONS] += build_immutability(spec["properties"], always, mutable=MUTABLE_SPEC_FIELDS)
    schema[VALIDATIONS] = [build_name_rule(), build_finished_rule(), *build_finished_site_rules(), *build_phase_rules()]


def _refine_provider(schema: Json) -> None:
    _drop_defaults(schema["properties"]["status"])


def _refine_flat(schema: Json) -> None:
    _drop_defaults(schema)


def _refine_tool_server(schema: Json) -> None:
    _drop_defaults(schema["properties"]["status"])


def _drop_defaults(node: Any, keep: frozenset[str] = frozenset()) -> None:
    """Remove the defaults of `node` and everything below it, but for its own properties named in `keep`."""
    node.pop("default", None)
    for name, child in node.get("properties", {}).items():
        if name not in keep:
            _drop_defaults(child)
    for below in ("items", "additionalProperties"):
        if below in node:
            _drop_defaults(node[below])


KINDS: Final = (
    Kind(
        model=AgentSession,
        plural="agentsessions",
        short_name="ags",
        categories=("agents",),
        selectable=(".spec.type", ".spec.role", ".spec.owner", ".status.phase"),
        refine=_refine_session,
        columns=(
            Column("Type", ".spec.type"),
            Column("Phase", ".status.phase"),
            Column("Steps", ".status.usage.steps", "integer"),
            Column("Tokens", ".status.usage.totalTokens", "integer"),
            Column("Reason", f"{READY}.reason"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Role", ".spec.role", is_wide=True),
            Column("Ready", f"{READY}.status", is_wide=True),
            Column("Cost", ".status.usage.costMicroUSD", "integer", "Millionths of a US dollar.", is_wide=True),
            Column("Retries", ".status.retries", "integer", is_wide=True),
            Column("Pod", ".status.agents[0].podName", is_wide=True),
            Column("Owner", ".spec.owner", is_wide=True),
            Column("Template", ".spec.templateRef.name", is_wide=True),
        ),
    ),
    Kind(
        model=ModelProvider,
        plural="modelproviders",
        short_name="mdlp",
        refine=_refine_provider,
        columns=(
            Column("Type", ".spec.type"),
            Column("Shared", ".spec.shared", "boolean"),
            Column("Ready", f"{READY}.status"),
            Column("URL", ".spec.url"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    ),
    Kind(
        model=AgentSessionTemplate,
        plural="agentsessiontemplates",
        short_name="agst",
        refine=_refine_flat,
        columns=(
            Column("Title", ".spec.session.title"),
            Column("Overridable", ".spec.overridable"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    ),
    Kind(
        model=SessionQuota,
        plural="sessionquotas",
        short_name="sq",
        refine=_refine_flat,
        columns=(
            Column("Max", ".spec.maxConcurrentSessions", "integer"),
            Column("Active", ".status.active", "integer"),
            Column("Queued", ".status.queued", "integer"),
            Column("Hold", ".spec.hold", "boolean"),
            Column("Ready", f"{READY}.status"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Tokens today", ".status.tokensToday", "integer", is_wide=True),
            Column("Cost today", ".status.costMicroUSDToday", "integer", is_wide=True),
        ),
    ),
    Kind(
        model=ToolServer,
        plural="toolservers",
        short_name="tsrv",
        refine=_refine_tool_server,
        columns=(
            Column("Ready", f"{READY}.status"),
            Column("Reason", f"{READY}.reason"),
            Column("URL", ".spec.url"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    ),
    Kind(
        model=AgentPolicy,
        plural="agentpolicies",
        short_name="agp",
        refine=_refine_flat,
        columns=(
            Column("Accepted", '.status.conditions[?(@.type=="Accepted")].status'),
            Column("Dry run", ".spec.dryRun", "boolean"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Why", '.status.conditions[?(@.type=="Accepted")].message', is_wide=True),
        ),
    ),
    Kind(
        model=SessionApproval,
        plural="sessionapprovals",
        short_name="sap",
        selectable=(".spec.session", ".status.outcome"),
        refine=_refine_flat,
        columns=(
            Column("Session", ".spec.session"),
            Column("Kind", ".spec.request.kind"),
            Column("Tool", ".spec.request.tool"),
            Column("Outcome", ".status.outcome"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Rule", ".spec.request.rule", is_wide=True),
            Column("Expires", ".spec.request.expiresAt", "date", is_wide=True),
            Column("Message", ".status.message", is_wide=True),
        ),
    ),
    Kind(
        model=SessionWebhook,
        plural="sessionwebhooks",
        short_name="swh",
        refine=_refine_flat,
        columns=(
            Column("Ready", f"{READY}.status"),
            Column("Reason", f"{READY}.reason"),
            Column("Delivered", ".status.delivered", "integer"),
            Column("Waiting", ".status.waiting", "integer"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Last delivery", ".status.lastDeliveryAt", "date", is_wide=True),
            Column("URL", ".spec.url", is_wide=True),
        ),
    ),
)
"""Every kind of the group."""
