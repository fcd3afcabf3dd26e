"""Templates as sessions keep to them: revisions that are made, read, and at last deleted.

A session that is not yet accepted gets the template as it is now; its revision is there before the status that names
it. From then on that revision counts, also when the template changed or is gone. A revision that no session's status
names is deleted when it is older than any pass that may be about to name it.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from pydantic import ValidationError

from agentsessions.api.reasons import Phase, Reason
from agentsessions.api.v1alpha1.template import AgentSessionTemplateSpec
from agentsessions.children.revisions import LABEL_TEMPLATE, build_revision, read_revision, revision_name
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.store import Sessions, key_of
from agentsessions.controller.views import TemplateRecord, describe, to_instant
from agentsessions.controller.watched import Watched
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, ApiError, NotFound
from agentsessions.engine.resources import CONTROLLER_REVISION, resource_path
from agentsessions.lifecycle.facts import SessionView, TemplateView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.templates import find_not_allowed, merge_view

MOST_REMEMBERED: Final = 1000
KEPT_UNUSED: Final = timedelta(hours=1)
PENDING: Final = (None, Phase.PENDING)

log = structlog.get_logger(__name__)


class RevisionLostError(Exception):
    """What a session that is on its way was accepted with is gone."""


class Revisions:
    """Resolves sessions that start from a template."""

    def __init__(
        self,
        client: Client,
        templates: Watched[TemplateRecord],
        sessions: Sessions,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._templates = templates
        self._sessions = sessions
        self._clock = clock
        self._known: OrderedDict[tuple[str, str], AgentSessionTemplateSpec] = OrderedDict()

    async def resolve(self, session: SessionView) -> tuple[SessionView, TemplateView]:
        """Return the session with its spec over its template's, and what is known of the template.

        Raises:
            RefusedError: It is not accepted yet, and the template is not there or does not go with it.
            RevisionLostError: It was accepted with a revision that is gone.
            ApiError: The API server does not answer.
        """
        if session.spec.template_ref is None or session.is_deleting:
            return session, TemplateView()
        name, pinned = session.spec.template_ref.name, session.status.template_revision
        if pinned is not None:
            return await self._follow(session, name, pinned)
        if session.status.phase not in PENDING:
            return session, TemplateView()  # it ended before it was accepted
        return await self._pin(session, name)

    async def sweep(self) -> None:
        """Delete revisions that no session names; what fails is tried again the next time."""
        used = {(record.view.namespace, record.view.status.template_revision) for _, record in self._sessions.items()}
        try:
            listing = await self._client.list_all(
                CONTROLLER_REVISION, _to_identity, label_selector=LABEL_TEMPLATE, metadata_only=True
            )
            for namespace, name, uid, created_at in listing.items:
                if (namespace, name) in used or self._clock() - created_at < KEPT_UNUSED:
                    continue
                self._known.pop((namespace, name), None)
                await self._client.delete(CONTROLLER_REVISION, namespace, name, uid=uid)
                log.info("revision deleted", namespace=namespace, revision=name)
        except ApiError as error:
            log.warning("revisions not swept", error=str(error))

    async def _follow(self, session: SessionView, name: str, pinned: str) -> tuple[SessionView, TemplateView]:
        """Keep to the revision that the session was accepted with."""
        live = self._templates.records.get(key_of(session.namespace, name))
        newest = revision_name(name, live.spec) if live is not None and live.spec is not None else ""
        spec = await self._fetch(session.namespace, name, pinned)
        if spec is None and live is not None and newest == pinned:
            with contextlib.suppress(RefusedError):
                spec = await self._keep(live)  # it can be made again: the template still says the same
        try:
            if spec is not None:
                view = TemplateView(name, pinned, newest, find_not_allowed(session.spec, spec))
                return merge_view(session, spec), view
        except ValidationError as error:
            log.warning("no spec over its template", session=f"{session.namespace}/{session.name}", error=str(error))
        if session.status.phase in TERMINAL:
            return session, TemplateView()
        raise RevisionLostError(
            f"ControllerRevision {pinned}, with which the session was accepted (template {name}), is gone or cannot be "
            "read: create a new session"
        )

    async def _pin(self, session: SessionView, name: str) -> tuple[SessionView, TemplateView]:
        """Start from the template as it is now."""
        key = key_of(session.namespace, name)
        await self._templates.refresh(key)  # the stream may be late, and what is pinned stays
        template = self._templates.records.get(key)
        if template is None:
            raise RefusedError(
                Reason.TEMPLATE_NOT_FOUND,
                f"spec.templateRef names AgentSessionTemplate {name!r}, which is not in namespace "
                f"{session.namespace}: create it, or create the session without it",
            )
        if template.spec is None:
            raise RefusedError(Reason.TEMPLATE_INVALID, f"AgentSessionTemplate {name!r}: {template.problem}")
        refused = find_not_allowed(session.spec, template.spec)
        if refused:
            fields = ", ".join(f"spec.{field}" for field in refused)
            may = ", ".join(template.spec.overridable or ()) or "nothing"
            raise RefusedError(
                Reason.OVERRIDE_NOT_ALLOWED,
                f"AgentSessionTemplate {name!r} sets {fields} and lets sessions override {may}: create the session "
                "without it, or add it to spec.overridable of the template",
            )
        try:
            merged = merge_view(session, template.spec)
        except ValidationError as error:
            raise RefusedError(
                Reason.TEMPLATE_INVALID,
                f"the spec over that of AgentSessionTemplate {name!r} is none: {describe(error)}",
            ) from None
        await self._keep(template)
        revision = revision_name(name, template.spec)
        return merged, TemplateView(name, revision, revision)

    async def _fetch(self, namespace: str, template: str, name: str) -> AgentSessionTemplateSpec | None:
        known = self._known.get((namespace, name))
        if known is not None:
            return known
        try:
            raw = await self._client.get(resource_path(CONTROLLER_REVISION, namespace, name))
            spec = read_revision(raw, template)
        except (NotFound, ValidationError):
            return None
        if spec is not None:
            self._remember(namespace, name, spec)
        return spec

    async def _keep(self, template: TemplateRecord) -> AgentSessionTemplateSpec:
        """Make sure that the template's revision is there.

        Raises:
            RefusedError: Another object has its name.
        """
        if template.spec is None:
            raise AssertionError("a template that cannot be read is not kept")
        name = revision_name(template.name, template.spec)
        if await self._fetch(template.namespace, template.name, name) is None:
            wanted = build_revision(template.namespace, template.name, template.generation, template.spec)
            try:
                await self._client.create(CONTROLLER_REVISION, template.namespace, wanted)
            except AlreadyExists:
                if await self._fetch(template.namespace, template.name, name) is None:
                    raise RefusedError(
                        Reason.TEMPLATE_INVALID,
                        f"ControllerRevision {name} is in the way of the template's copy and holds something else: "
                        "delete it",
                    ) from None
            self._remember(template.namespace, name, template.spec)
        return template.spec

    def _remember(self, namespace: str, name: str, spec: AgentSessionTemplateSpec) -> None:
        self._known[namespace, name] = spec
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)


def _to_identity(raw: dict[str, Any]) -> tuple[str, str, str, datetime]:
    meta = raw["metadata"]
    return meta["namespace"], meta["name"], meta["uid"], to_instant(meta["creationTimestamp"])
