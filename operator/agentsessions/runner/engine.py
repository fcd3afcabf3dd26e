"""The port behind which an agent library plays one turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from agentsessions.api.wire import Outcome, Turn
from agentsessions.runner.tools.tool import Offer


@dataclass(frozen=True)
class Played:
    """How a turn went: `continue` when the answer asked for tools, all of which have run; else `final`."""

    outcome: Outcome


class Toolbox(Protocol):
    """The tools of a turn. A call never raises for the tool's sake; errors of the gateway do come through."""

    @property
    def tools(self) -> Sequence[Offer]:
        """Tools on offer, in a fixed order."""
        ...

    async def call(self, call_id: str, name: str, arguments: str) -> str:
        """Return the result text of one call of the answer, recorded in the journal."""
        ...


class Engine(Protocol):
    """Plays turns. Playing the same turn again sends the same bytes."""

    async def play(self, turn: Turn, toolbox: Toolbox) -> Played:
        """Ask the model once and run the tools that it asks for.

        Raises:
            ModelFailedError: The model call failed.
            GatewayError: Any other of `errors`.
        """
        ...
