"""The gateway's app over a journal alone, for callers who may read all."""

from types import SimpleNamespace
from typing import Any

from agentsessions.gateway.app import create_app
from agentsessions.gateway.auth import User
from agentsessions.journal.store import Store


def an_app(store: Store, namespace_uid: str = "") -> Any:
    """Return the app, its page included; every namespace has one uid, and nobody is asked to decide anything."""

    async def allow(*_: object) -> None:
        """Refuse nothing."""

    async def known(_: object) -> User:
        # Not by `dependency_overrides`: with one, FastAPI reads every route's parameters anew for each request.
        return User("bench")

    async def uid_of(_: str) -> str:
        return namespace_uid

    nothing_asked = SimpleNamespace(decisions=SimpleNamespace(asked_of=lambda _: []))
    parts = SimpleNamespace(
        store=store,
        auth=SimpleNamespace(user=known, require=allow),
        watch=SimpleNamespace(namespace_uid=uid_of),
        proxy=nothing_asked,
    )
    return create_app(parts)  # type: ignore[arg-type]  # the parts that lists and pages use
