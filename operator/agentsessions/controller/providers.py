"""ModelProviders: is what they say usable? Told in condition Ready, written only when it changes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import structlog

from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.status import Condition
from agentsessions.controller.kinds import MODEL_PROVIDERS
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.patches import merge_diff
from agentsessions.controller.store import Key, Providers
from agentsessions.controller.views import ProviderRecord
from agentsessions.engine.client import Client
from agentsessions.lifecycle.conditions import build_condition
from agentsessions.lifecycle.scripts import script_problems

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProviderProblem:
    """Why no session can use a provider."""

    reason: Reason
    message: str


def provider_problem(provider: ProviderRecord) -> ProviderProblem | None:
    """Return why a provider cannot be used; None when it can."""
    if provider.spec is None:
        return ProviderProblem(Reason.INVALID_SPEC, f"spec is not what this version understands: {provider.problem}")
    problems = script_problems(provider.spec.script) if provider.spec.script else []
    if problems:
        return ProviderProblem(Reason.SCRIPT_INVALID, "spec.script: " + "; ".join(problems))
    return None


def ready_condition(provider: ProviderRecord, now: datetime) -> Condition:
    """Return the condition Ready that the provider should have at `now` (aware UTC)."""
    problem = provider_problem(provider)
    return build_condition(
        ConditionType.READY,
        provider.status.conditions,
        now,
        is_true=problem is None,
        reason=problem.reason if problem else Reason.ACCEPTED,
        message=problem.message if problem else "sessions can use it",
        generation=provider.generation,
    )


class ProviderReconciler:
    """Writes the status of ModelProviders."""

    def __init__(
        self, client: Client, providers: Providers, metrics: Metrics, *, clock: Callable[[], datetime]
    ) -> None:
        self._client = client
        self._providers = providers
        self._metrics = metrics
        self._clock = clock

    async def reconcile(self, key: Key) -> None:
        """Say in the provider's status whether it can be used.

        Raises:
            ApiError: The status could not be written.
        """
        provider = self._providers.get(key)
        if provider is None:
            return
        condition = ready_condition(provider, self._clock())
        status = provider.status.model_copy(
            update={"observed_generation": provider.generation, "conditions": [condition]}
        )
        patch = merge_diff(provider.status.to_json(), status.to_json())
        if not patch:
            return
        body = {"metadata": {"resourceVersion": provider.resource_version}, "status": patch}
        answer = await self._client.merge_patch(
            MODEL_PROVIDERS, provider.namespace, provider.name, body, subresource="status"
        )
        self._providers.put(answer)
        self._metrics.writes.labels("provider_status").inc()
        log.info("provider checked", provider=key, is_ready=condition.status == "True", reason=condition.reason)
