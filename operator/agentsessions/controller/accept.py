"""Are the session's references there and right? What they name is frozen on the way.

Looked up while a session is Pending, never later: from then on the snapshot is the truth. A snapshot that is there is
taken as it is, so a pass that was cut off between freezing and its status write changes nothing.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from agentsessions.api.datasets import BadDataError, read_table
from agentsessions.api.names import DEFAULT_PROVIDER, MAX_CONTEXT_BYTES, MAX_FILES_BYTES
from agentsessions.api.reasons import Reason
from agentsessions.api.v1alpha1.agent import Agent, AgentModel
from agentsessions.api.v1alpha1.context import ConfigMapKeyRef
from agentsessions.api.v1alpha1.provider import ModelProviderSpec
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import DataSourceStatus, EffectiveLimits
from agentsessions.children.names import context_name
from agentsessions.children.owner import owner_uid
from agentsessions.children.quantity import to_number
from agentsessions.children.snapshot import (
    CONTEXT_KEY,
    build_snapshot,
    content_digest,
    data_key,
    field_of,
    read_key,
    wanted_content,
)
from agentsessions.controller.ownids import OwnIds
from agentsessions.controller.providers import provider_problem
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.sources import Sources
from agentsessions.controller.store import Key, Providers, key_of
from agentsessions.controller.tool_servers import ToolServers, tool_problem
from agentsessions.controller.views import ProviderRecord
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, Invalid, NotFound
from agentsessions.engine.resources import CONFIG_MAP, resource_path
from agentsessions.lifecycle.coherence import find_contradiction
from agentsessions.lifecycle.effective import resolve
from agentsessions.lifecycle.facts import Acceptance, SessionView
from agentsessions.lifecycle.teams import find_cycle


class Acceptor:
    """Looks up what sessions name."""

    def __init__(
        self,
        client: Client,
        providers: Providers,
        install_namespace: str,
        *,
        own_ids: OwnIds,
        tool_servers: ToolServers,
        refresh_provider: Callable[[Key], Awaitable[bool]],
        sources: Sources,
    ) -> None:
        self._client = client
        self._providers = providers
        self._install_namespace = install_namespace
        self._refresh_provider = refresh_provider
        self._own_ids = own_ids
        self._sources = sources
        self._tool_servers = tool_servers

    async def accept(self, session: SessionView) -> Acceptance:
        """Return the session's frozen inputs, or its first problem.

        Raises:
            ApiError: The API server does not answer.
        """
        wanted = wanted_content(session.spec)
        if session.status.spec_digest is not None:
            return Acceptance(has_snapshot=bool(wanted))
        try:
            check_spec(session.spec)
            self._check_own_id(session)
            effective = resolve(session.spec)
            for agent in effective.agents:
                await self._check_model(session.namespace, agent, effective.limits)
                self._check_tools(session.namespace, agent)
            filled_from = await self._sources.check(session)
            content = await self._freeze(session, wanted) if wanted else {}
            sources = await asyncio.to_thread(read_sources, session.spec, content)
        except RefusedError as refused:
            return Acceptance(reason=refused.reason, message=str(refused)[:1024])
        return Acceptance(
            context_digest=content_digest(content),
            has_snapshot=bool(wanted),
            data_sources=tuple(sources),
            filled_from=filled_from,
        )

    def find_provider(self, namespace: str, name: str) -> ProviderRecord | None:
        """Return the provider of that name: the namespace's own, else a shared one of the installation."""
        own = self._providers.get(key_of(namespace, name))
        if own is not None:
            return own
        shared = self._providers.get(key_of(self._install_namespace, name))
        return shared if shared is not None and shared.spec is not None and shared.spec.shared else None

    async def _fetch_provider(self, namespace: str, name: str) -> ProviderRecord | None:
        """Find the provider; one that is not known may have been made just before the session, so it is asked for."""
        found = self.find_provider(namespace, name)
        if found is not None:
            return found
        for place in (namespace, self._install_namespace):
            await self._refresh_provider(key_of(place, name))
        return self.find_provider(namespace, name)

    def _check_own_id(self, session: SessionView) -> None:
        other = self._own_ids.claim(session)
        if other is not None:
            whose = f"owner {session.spec.owner!r}" if session.spec.owner else "sessions without owner"
            raise RefusedError(
                Reason.DUPLICATE_ID,
                f"spec.sessionId {session.spec.session_id!r} is that of session {other.name!r}, and is unique for "
                f"{whose} in namespace {session.namespace}: delete that session, or create this one with another id",
            )

    async def _check_model(self, namespace: str, agent: Agent, limits: EffectiveLimits) -> None:
        model = agent.model
        if model is None or model.provider_ref is None:
            raise AssertionError("agents after defaults name a provider")
        name, where = model.provider_ref.name, f"agent {agent.name}: model.providerRef"
        provider = await self._fetch_provider(namespace, name)
        if provider is None:
            raise RefusedError(
                Reason.PROVIDER_NOT_FOUND,
                f"{where} names ModelProvider {name!r}, which is neither in namespace {namespace} nor shared in "
                f"{self._install_namespace}: create it, or name another",
            )
        problem = provider_problem(provider)
        if problem is not None or provider.spec is None:
            words = problem.message if problem else provider.problem
            raise RefusedError(
                Reason.PROVIDER_INVALID, f"{where} names ModelProvider {name!r}, which is not ready: {words}"
            )
        check_offer(agent, provider.spec, limits)

    def _check_tools(self, namespace: str, agent: Agent) -> None:
        if problem := tool_problem(self._tool_servers, namespace, agent):
            raise RefusedError(*problem)

    async def _freeze(self, session: SessionView, wanted: Mapping[str, ConfigMapKeyRef]) -> dict[str, bytes]:
        """Return the frozen content: of the snapshot that is there, else of a new one."""
        found = await self._find_snapshot(session, wanted)
        if found is not None:
            return found
        content = await self._fetch(session, wanted)
        check_sizes(session.spec, content)
        try:
            await self._client.create(CONFIG_MAP, session.namespace, build_snapshot(session, content))
        except AlreadyExists:
            return await self._find_snapshot(session, wanted) or {}
        return content

    async def _find_snapshot(
        self, session: SessionView, wanted: Mapping[str, ConfigMapKeyRef]
    ) -> dict[str, bytes] | None:
        name = context_name(session.name, session.uid)
        try:
            found = await self._client.get(resource_path(CONFIG_MAP, session.namespace, name))
        except NotFound:
            return None
        content = {key: value for key in wanted if (value := read_key(found, key)) is not None}
        if owner_uid(found) != session.uid or not found.get("immutable") or len(content) != len(wanted):
            raise RefusedError(
                Reason.CONFIG_MAP_NOT_FOUND,
                f"ConfigMap {name} is in the way of the frozen copy of spec.context and is not the session's own: "
                "delete it",
            )
        return content

    async def _fetch(self, session: SessionView, wanted: Mapping[str, ConfigMapKeyRef]) -> dict[str, bytes]:
        """Read each ConfigMap that is named, once."""
        sources: dict[str, dict[str, Any]] = {}
        content: dict[str, bytes] = {}
        for key, reference in wanted.items():
            where = f"{field_of(session.spec, key)} names"
            if reference.name not in sources:
                path = resource_path(CONFIG_MAP, session.namespace, reference.name)
                try:
                    sources[reference.name] = await self._client.get(path)
                except (NotFound, Invalid):  # Invalid: no object can have that name
                    raise RefusedError(
                        Reason.CONFIG_MAP_NOT_FOUND,
                        f"{where} ConfigMap {reference.name!r}, which is not in namespace {session.namespace}: "
                        "create it",
                    ) from None
            value = read_key(sources[reference.name], reference.key)
            if value is None:
                raise RefusedError(
                    Reason.CONFIG_MAP_KEY_NOT_FOUND,
                    f"{where} key {reference.key!r}, which ConfigMap {reference.name!r} does not have: add it",
                )
            content[key] = value
        return content


def check_spec(spec: SessionSpec) -> None:
    """Refuse what neither the schema nor its rules can see.

    Raises:
        RefusedError: It contradicts its type or mode, a context is too large, resources contradict each other, or
            agents wait for each other.
    """
    problem = find_contradiction(spec)
    if problem is not None:
        raise RefusedError(Reason.INVALID_SPEC, problem)
    value = spec.context.json_value if spec.context else None
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()) if value is not None else 0
    if size > MAX_CONTEXT_BYTES:
        raise _too_large("spec.context.json", size, MAX_CONTEXT_BYTES)
    for agent in spec.agents or ():
        _check_resources(agent)
    cycle = find_cycle(spec.agents or ())
    if cycle is not None:
        raise RefusedError(
            Reason.INVALID_SPEC,
            f"spec.agents[].dependsOn goes in a circle: {' waits for '.join((*cycle, cycle[0]))}; create the session "
            "with one of these taken out",
        )


def check_offer(agent: Agent, offered: ModelProviderSpec, limits: EffectiveLimits) -> None:
    """Refuse an agent whose provider does not have its model, or no price of it that a cost limit needs.

    Raises:
        RefusedError: The text names agent, provider, model and remedy.
    """
    wanted = agent.model or AgentModel()
    provider = wanted.provider_ref.name if wanted.provider_ref else DEFAULT_PROVIDER
    by_name = {entry.name: entry for entry in offered.models}
    model = offered.models[0] if wanted.name is None else by_name.get(wanted.name)
    if model is None:
        raise RefusedError(
            Reason.MODEL_NOT_FOUND,
            f"agent {agent.name}: model.name is {wanted.name!r}, which ModelProvider {provider!r} does not offer; "
            f"it has {', '.join(by_name)}",
        )
    if limits.max_cost_micro_usd is not None and model.prices is None:
        raise RefusedError(
            Reason.PRICE_NOT_FOUND,
            f"spec.limits.maxCostMicroUSD is set, and model {model.name!r} of agent {agent.name} has no prices in "
            f"ModelProvider {provider!r}: add prices to the model there, or take the limit out",
        )


def check_sizes(spec: SessionSpec, content: Mapping[str, bytes]) -> None:
    """Refuse content that one ConfigMap cannot hold, or a prompt should not.

    Raises:
        RefusedError: It is too large; the text says how large, and what fits.
    """
    shown = len(content.get(CONTEXT_KEY, b""))
    if shown > MAX_CONTEXT_BYTES:
        raise _too_large(field_of(spec, CONTEXT_KEY), shown, MAX_CONTEXT_BYTES)
    total = sum(len(value) for value in content.values())
    if total > MAX_FILES_BYTES:
        raise _too_large("what spec.context names, together,", total, MAX_FILES_BYTES)


def read_sources(spec: SessionSpec, content: Mapping[str, bytes]) -> list[DataSourceStatus]:
    """Return what is pinned of each data source.

    Raises:
        RefusedError: One is no table; the text says where.
    """
    found = []
    for number, source in enumerate(spec.data_sources or ()):
        data = content[data_key(number)]
        try:
            table = read_table(data, source.format)
        except BadDataError as bad:
            raise RefusedError(
                Reason.DATA_SOURCE_INVALID,
                f"spec.dataSources[{source.name}] ({source.format}, {bad.problem}): {bad}",
            ) from None
        digest = hashlib.sha256(data).hexdigest()
        found.append(DataSourceStatus(name=source.name, digest=digest, rows=len(table.rows)))
    return found


def _check_resources(agent: Agent) -> None:
    requests = (agent.resources and agent.resources.requests) or {}
    limits = (agent.resources and agent.resources.limits) or {}
    for kind in requests.keys() & limits.keys():
        if to_number(requests[kind]) > to_number(limits[kind]):
            raise RefusedError(
                Reason.INVALID_SPEC,
                f"agent {agent.name}: resources.requests.{kind} is {requests[kind]}, more than "
                f"resources.limits.{kind} ({limits[kind]}): create the session with a lower request or a higher limit",
            )


def _too_large(what: str, size: int, most: int) -> RefusedError:
    return RefusedError(
        Reason.CONTEXT_TOO_LARGE, f"{what} has {size:,} bytes; at most {most:,} fit: shorten it, or split the work"
    )
