"""AgentPolicy: which calls of tools run, are asked about, or are refused."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.approval import ApprovalTerms
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.status import Condition

MAX_EXPRESSION: Final = 1024
MAX_RULES: Final = 64


class RuleAction(StrEnum):
    """What becomes of a call. Of several the one that comes last here wins."""

    ALLOW = "Allow"
    ASK = "Ask"
    DENY = "Deny"


ToolPattern = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_*-]+$")]
LabelValue = Annotated[str, Field(max_length=63)]


class PolicyRule(ApiModel):
    """One rule. It holds for a call when its tool is named and its expression is true."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.approval) || self.action == 'Ask'",
                    "approval says how a call is decided: it belongs to action Ask",
                    field="approval",
                )
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """Name, unique in the policy: it stands beside each decision in the journal."""
    tools: Annotated[list[ToolPattern], Field(min_length=1, max_length=32)] | None = None
    """Names of tools, `*` for any characters. Every tool when absent."""
    when: Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)] | None = None
    """CEL expression, true or false, over `tool`, `arguments`, `agent`, `session` and `usage`. True when absent."""
    action: RuleAction
    """Allow, Ask (a person must approve the call) or Deny."""
    message: Annotated[str, Field(max_length=512)] | None = None
    """Why, for people, and after a Deny for the model."""
    approval: ApprovalTerms | None = None
    """With Ask: how it is decided."""


class PolicySelector(ApiModel):
    """Which sessions of the namespace a policy binds."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = None
    """Labels that a session must have. They are chosen by who creates it: leave them out to bind everyone."""


class AgentPolicySpec(ApiModel):
    """Rules, and whom they bind."""

    selector: PolicySelector | None = None
    """Sessions of the namespace that it binds, whether they want it or not. Absent or empty: all of them."""
    dry_run: bool | None = None
    """While true, decisions are written to the journal and nothing is stopped."""
    default_action: RuleAction | None = None
    """What becomes of a call for which no rule of this policy holds; Allow when absent."""
    rules: Annotated[
        list[PolicyRule],
        Field(
            max_length=MAX_RULES,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ] = Field(default_factory=list)
    """The rules. All are looked at: Deny wins over Ask, and Ask over Allow."""


class AgentPolicyStatus(ApiModel):
    """Whether the policy can be evaluated."""

    observed_generation: int | None = None
    """Generation of the spec that the conditions speak of."""
    conditions: Annotated[list[Condition], Field(max_length=8)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Accepted: its expressions fit. While it is not, each call of a session that it binds is denied."""


class AgentPolicy(ApiModel):
    """What the agents of a namespace may do with their tools."""

    spec: AgentPolicySpec
    """The rules."""
    status: AgentPolicyStatus | None = None
    """Whether they can be evaluated."""
