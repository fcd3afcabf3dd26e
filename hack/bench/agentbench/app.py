"""The gateway's app over a journal alone, for callers who may read all."""

from types import SimpleNamespace
from typing import Any

from agentsessions.gateway.app import create_app
from agentsessions.gateway.auth import User
from agentsessions.gateway.lookup import current_user
from agentsessions.journal.store import Store


def an_app(store: Store, namespace_uid: str = "") -> Any:
    """Return the app, its page included; every namespace has one uid, and nobody is asked to decide anything."""

    async def allow(*_: object) -> None:
        """Refuse nothing."""

    async def uid_of(_: str) -> str:
        return namespace_uid

    nothing_asked = SimpleNamespace(decisions=SimpleNamespace(asked_of=lambda _: []))
    parts = SimpleNamespace(
        store=store,
        auth=SimpleNamespace(require=allow),
        watch=SimpleNamespace(namespace_uid=uid_of),
        proxy=nothing_asked,
    )
    app = create_app(parts)  # type: ignore[arg-type]  # the parts that lists and pages use
    for one in (app, *(route.app for route in app.routes if hasattr(route, "app"))):
        if hasattr(one, "dependency_overrides"):
            one.dependency_overrides[current_user] = lambda: User("bench")
    return app
