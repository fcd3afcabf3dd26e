"""The resources of `agentsessions.dev/v1alpha1`: the sole source of the CRDs."""

from agentsessions.api.v1alpha1.approval import SessionApproval, SessionApprovalSpec, SessionApprovalStatus
from agentsessions.api.v1alpha1.policy import AgentPolicy, AgentPolicySpec, AgentPolicyStatus
from agentsessions.api.v1alpha1.provider import ModelProvider, ModelProviderSpec, ModelProviderStatus, ProviderType
from agentsessions.api.v1alpha1.quota import SessionQuota, SessionQuotaSpec, SessionQuotaStatus
from agentsessions.api.v1alpha1.session import AgentSession, OperatingMode, SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus

__all__ = [
    "AgentPolicy",
    "AgentPolicySpec",
    "AgentPolicyStatus",
    "AgentSession",
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
]
