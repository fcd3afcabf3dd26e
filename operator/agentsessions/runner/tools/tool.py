"""What a tool is."""

from collections.abc import Mapping
from typing import Any, Protocol

from agentsessions.api.wire import SideEffect


class ToolFailedError(Exception):
    """A tool could not do what was asked; the text is for the model."""


class Offer(Protocol):
    """Something that the model may ask for."""

    @property
    def name(self) -> str:
        """Name as the model sees it."""
        ...

    @property
    def description(self) -> str:
        """What it does, for the model."""
        ...

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of the arguments; never changes, since it is part of every request."""
        ...


class Tool(Offer, Protocol):
    """A tool that the runner runs itself."""

    @property
    def side_effect(self) -> SideEffect:
        """How far its effect reaches."""
        ...

    async def run(self, arguments: Mapping[str, Any]) -> str:
        """Do it; return the result for the model.

        Args:
            arguments: They fit `parameters`.

        Raises:
            ToolFailedError: It could not be done, and the text says why.
        """
        ...
