"""Where the runner finds what its pod was given."""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final, Self

from agentsessions.api import names

OWN_ENV_PREFIX: Final = "AGENTSESSIONS_"
HOST_ENV: Final = "KUBERNETES_SERVICE_HOST"
PORT_ENV: Final = "KUBERNETES_SERVICE_PORT"


@dataclass(frozen=True)
class Patience:
    """How to wait for a gateway that is away."""

    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 15.0
    total_seconds: float = 600.0
    """Waiting in all, for one request or one turn. After that the epoch has failed; the operator starts the next."""


@dataclass(frozen=True, slots=True)
class Forbidden:
    """An address that the policy keeps from agents."""

    host: str
    port: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self | None:
        """Return the API server's address as the kubelet gives it to each container; None when it is not one."""
        host, port = env.get(HOST_ENV, ""), env.get(PORT_ENV, "")
        try:
            return cls(str(ip_address(host)), int(port))  # never a name: looking one up takes a thread, and DNS
        except ValueError:
            return None


@dataclass(frozen=True)
class Settings:
    """Addresses and folders; the defaults are those of an agent pod."""

    gateway_url: str
    token_path: Path = Path(names.TOKEN_PATH)
    ca_path: Path = Path(names.CA_PATH)
    context_dir: Path = Path(names.CONTEXT_DIR)
    data_dir: Path = Path(names.DATA_DIR)
    workspace_dir: Path = Path(names.WORKSPACE_DIR)
    patience: Patience = field(default_factory=Patience)
    forbidden: Forbidden | None = None
    """What the pod must not reach; None tries nothing."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the settings from the environment of the pod.

        Raises:
            ValueError: The gateway's URL is absent or not one.
        """
        url = env.get(names.ENV_GATEWAY_URL, "").rstrip("/")
        if not url.startswith(("https://", "http://")):
            raise ValueError(
                f"{names.ENV_GATEWAY_URL} is {url!r}; it must be the http or https URL of the gateway. "
                "The operator sets it: was this pod made by hand?"
            )
        return cls(gateway_url=url, forbidden=Forbidden.from_env(env))


def strip_reserved(env: MutableMapping[str, str]) -> None:
    """Remove variables that could redirect traffic or change what is imported.

    The schema of sessions refuses them already; images may carry them nevertheless.
    """
    for name in [name for name in env if is_reserved(name)]:
        del env[name]


def is_reserved(name: str) -> bool:
    """Return whether a variable must not reach the libraries; our own are read by us and may stay."""
    if name.startswith(OWN_ENV_PREFIX):
        return False
    return name.startswith(names.RESERVED_ENV_PREFIXES) or name.upper().endswith(names.RESERVED_ENV_SUFFIXES)


def to_child_env(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for programs that tools start: without anything of the runner's own."""
    return {name: value for name, value in env.items() if not name.startswith(OWN_ENV_PREFIX) and not is_reserved(name)}
