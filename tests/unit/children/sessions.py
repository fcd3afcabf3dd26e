"""Sessions for tests of children."""

from typing import Any

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.lifecycle.facts import SessionView
from tests.builders import SESSION_UID, T0


def a_view(name: str = "rows", **spec: Any) -> SessionView:
    """Return a session of namespace `team` with a goal and the given spec fields."""
    return SessionView(
        namespace="team",
        name=name,
        uid=SESSION_UID,
        generation=1,
        resource_version="7",
        created_at=T0,
        is_deleting=False,
        spec=SessionSpec.model_validate({"goal": "count the rows", **spec}),
        status=SessionStatus(),
    )
