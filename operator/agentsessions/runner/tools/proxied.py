"""Tools that the gateway runs: it holds their credentials, and the pod reaches nothing else."""

from collections.abc import Mapping
from typing import Any

from agentsessions.api.wire import ToolOffer


class Proxied:
    """A tool as the gateway describes it. Its calls are asked for, not run."""

    def __init__(self, offer: ToolOffer) -> None:
        self._offer = offer

    @property
    def name(self) -> str:
        """Name as the model sees it."""
        return self._offer.name

    @property
    def description(self) -> str:
        """What it does, for the model."""
        return self._offer.description

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of the arguments; the gateway checks them."""
        return self._offer.parameters
