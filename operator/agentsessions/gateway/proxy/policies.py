"""AgentPolicies as the API server last showed them, and what they say to a call of a tool."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from pydantic import ValidationError

from agentsessions.api import wire
from agentsessions.api.names import GROUP, VERSION
from agentsessions.api.v1alpha1.policy import AgentPolicySpec
from agentsessions.engine.client import Client
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import Resource
from agentsessions.gateway.problems import unavailable
from agentsessions.gateway.proxy.turns import session_of
from agentsessions.journal.asked_calls import read_asked
from agentsessions.journal.rows import PodIdentity
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.policies import (
    FREE,
    Call,
    Evaluate,
    Policy,
    Ruling,
    UnjudgedCallError,
    questions_about,
    rule_on,
    values_of,
)

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway

log = structlog.get_logger(__name__)

AGENT_POLICY: Final = Resource(GROUP, VERSION, "agentpolicies", "AgentPolicy")


class PolicyDirectory:
    """All policies, kept current by a watch."""

    def __init__(self, client: Client) -> None:
        self.informer: Final[Informer[Policy]] = Informer(
            client,
            AGENT_POLICY,
            convert=to_policy,
            key_of=lambda policy: f"{policy.namespace}/{policy.name}",
            on_change=lambda _old, _new: None,
        )

    def of(self, namespace: str) -> list[Policy]:
        """Return the policies of a namespace, by name."""
        found = (policy for policy in self.informer.values() if policy.namespace == namespace)
        return sorted(found, key=lambda policy: policy.name)


async def begin_call(gateway: "Gateway", pod: PodIdentity, begin: wire.ToolBegin, host: str = "") -> wire.ToolVerdict:
    """Say what becomes of a call: by its record, by people's decisions, and by the policies.

    Args:
        gateway: Whose parts are asked.
        pod: Who asks.
        begin: The call.
        host: The one that the call asks, if it does.

    Raises:
        ProblemError, Refusal: As `Store.begin_tool`.
    """
    return await gateway.store.begin_tool(pod, begin, await _rule_on(gateway, pod, begin, host))


async def _rule_on(gateway: "Gateway", pod: PodIdentity, begin: wire.ToolBegin, host: str) -> Ruling:
    """Return what the policies say. What the model asked for counts, as the journal has it, not what the pod says."""
    session = session_of(gateway, pod)
    if not gateway.proxy.policies.informer.is_synced.is_set():
        raise unavailable("The policies are not known yet; without them no call is begun.")
    policies = gateway.proxy.policies.of(pod.namespace)
    if not policies and session.spec.policy_ref is None:
        return FREE
    arguments = await gateway.store.read(read_asked, pod.session_uid, pod.agent, begin.call_id)
    if arguments is None:
        return FREE  # no answer asks for such a call: it is refused
    level = await gateway.store.level(pod.session_uid)
    usage = {} if level is None else {
        "steps": level.steps,
        "tokens": level.input_tokens + level.output_tokens,
        "toolCalls": level.tool_calls,
        "costMicroUSD": level.cost_micro_usd,
    }  # fmt: skip
    call = Call(begin.name, arguments, pod.agent, usage, host)
    return rule_on(policies, session, call, await _ask_judge(gateway, policies, session, call))


async def _ask_judge(gateway: "Gateway", policies: list[Policy], session: SessionView, call: Call) -> Evaluate:
    """Return what the expressions say to a call; each of them says why where it is none that can be judged."""
    questions = questions_about(policies, session, call)
    try:
        values = values_of(session, call) if questions else {}
    except UnjudgedCallError as error:
        return partial(_leave_unjudged, error)
    return (await gateway.proxy.judge.ask(questions, values)).evaluate


def _leave_unjudged(why: UnjudgedCallError, expression: str) -> bool:
    del expression
    raise why


def to_policy(found: Mapping[str, Any]) -> Policy:
    """Return the view of an AgentPolicy; one that this version cannot read denies what it binds."""
    namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
    try:
        return Policy(namespace, name, AgentPolicySpec.model_validate(found.get("spec") or {}))
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
        log.warning("policy not read", namespace=namespace, name=name, problems=problems)
        return Policy(namespace, name, None, problems)
