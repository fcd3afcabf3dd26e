"""What the installation gives to every agent pod."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PodSettings:
    """Where the gateway is, and which image runs agents that name none."""

    gateway_url: str
    runner_image: str
    pull_policy: str = "IfNotPresent"
    gateway_addresses: tuple[str, ...] = ()
    """Addresses behind the name in `gateway_url`; none: it is no name, or one that only DNS knows."""
