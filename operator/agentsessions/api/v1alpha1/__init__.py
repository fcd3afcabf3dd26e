"""The resources of `agentsessions.dev/v1alpha1`: the sole source of the CRDs."""

from agentsessions.api.v1alpha1.approval import SessionApproval, SessionApprovalSpec, SessionApprovalStatus
from agentsessions.api.v1alpha1.policy import AgentPolicy, AgentPolicySpec, AgentPolicyStatus
from agentsessions.api.v1alpha1.provider import ModelProvider, ModelProviderSpec, ModelProviderStatus, ProviderType
from agentsessions.api.v1alpha1.quota import SessionQuota, SessionQuotaSpec, SessionQuotaStatus
from agentsessions.api.v1alpha1.session import AgentSession, OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.api.v1alpha1.template import AgentSessionTemplate, AgentSessionTemplateSpec
from agentsessions.api.v1alpha1.toolserver import ToolServer, ToolServerSpec, ToolServerStatus
from agentsessions.api.v1alpha1.webhook import SessionWebhook, SessionWebhookSpec, SessionWebhookStatus

__all__ = [
    "AgentPolicy",
    "AgentPolicySpec",
    "AgentPolicyStatus",
    "AgentSession",
    "AgentSessionTemplate",
    "AgentSessionTemplateSpec",
    "ModelProvider",
    "ModelProviderSpec",
    "ModelProviderStatus",
    "OperatingMode",
    "ProviderType",
    "SessionApproval",
    "SessionApprovalSpec",
    "SessionApprovalStatus",
    "SessionQuota",
    "SessionQuotaSpec",
    "SessionQuotaStatus",
    "SessionSpec",
    "SessionStatus",
    "SessionWebhook",
    "SessionWebhookSpec",
    "SessionWebhookStatus",
    "ToolServer",
    "ToolServerSpec",
    "ToolServerStatus",
]
