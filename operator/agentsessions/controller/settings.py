"""What an administrator sets: read once from the environment at start, checked at once, never again."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from typing import Final

from agentsessions.api import names
from agentsessions.children.settings import PodSettings
from agentsessions.lifecycle.facts import DEFAULT_DEADLINES, Deadlines

PREFIX: Final = "AGENTSESSIONS_"
DEFAULT_NAMESPACE: Final = "agentsessions-system"
DEFAULT_IMAGE: Final = "agentsessions"
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
BOOLEANS: Final = ("true", "false")
LONGEST_SECONDS: Final = 86_400


class SettingsError(ValueError):
    """A variable of the environment holds what is not allowed."""


@dataclass(frozen=True)
class Settings:
    """Settings of the operator; each comes from the variable of its name with the prefix `AGENTSESSIONS_`."""

    namespace: str = DEFAULT_NAMESPACE
    """Namespace of the installation: the gateway, its CA, shared ModelProviders."""
    gateway_url: str = f"https://agentsessions-gateway.{DEFAULT_NAMESPACE}.svc"
    """Where operator and agent pods reach the gateway. Without a slash at its end."""
    runner_image: str = DEFAULT_IMAGE
    """Image of agent pods that name none."""
    runner_pull_policy: str = "IfNotPresent"
    """imagePullPolicy of agent pods."""
    token_file: str = names.TOKEN_PATH
    """Projected token of the operator for the gateway."""
    health_host: str = ""
    """Address of probes and metrics; empty means each one, IPv4 and IPv6."""
    health_port: int = 8080
    """Port of probes and metrics, plain."""
    workers: int = 32
    """Sessions looked at at the same time."""
    leader_election: bool = False
    """Whether another replica may run beside this one: then the one that holds the Lease acts."""
    pod_name: str = ""
    """Name of our pod, for people who read the Lease; the machine's name when empty."""
    sweep_seconds: int = 300
    """Pause between two sweeps for what the streams missed."""
    max_concurrent_sessions: int = 100
    """Sessions that run at the same time in a namespace whose SessionQuotas do not say how many."""
    deadlines: Deadlines = DEFAULT_DEADLINES
    """From `AGENTSESSIONS_DEADLINE_<NAME>_SECONDS`."""
    kubeconfig: str | None = None
    """Credentials outside a cluster (variable KUBECONFIG); inside it the pod's service account."""
    log_level: str = "info"
    """Least severe level that is logged."""

    @property
    def pods(self) -> PodSettings:
        """What agent pods are built with."""
        return PodSettings(self.gateway_url, self.runner_image, self.runner_pull_policy)


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: A variable's value is not allowed; the text names both.
    """
    env = os.environ if environ is None else environ
    namespace = env.get(f"{PREFIX}NAMESPACE") or DEFAULT_NAMESPACE
    return Settings(
        namespace=namespace,
        gateway_url=_url(env, "GATEWAY_URL", f"https://agentsessions-gateway.{namespace}.svc"),
        runner_image=env.get(f"{PREFIX}RUNNER_IMAGE") or DEFAULT_IMAGE,
        runner_pull_policy=_word(env, "RUNNER_PULL_POLICY", Settings.runner_pull_policy, PULL_POLICIES),
        token_file=env.get(f"{PREFIX}TOKEN_FILE") or names.TOKEN_PATH,
        health_host=env.get(f"{PREFIX}HEALTH_HOST", ""),
        health_port=_integer(env, "HEALTH_PORT", Settings.health_port, lowest=0, highest=65_535),
        workers=_integer(env, "WORKERS", Settings.workers, lowest=1, highest=1000),
        leader_election=_word(env, "LEADER_ELECTION", "false", BOOLEANS) == "true",
        pod_name=env.get(f"{PREFIX}POD_NAME") or socket.gethostname(),
        sweep_seconds=_integer(env, "SWEEP_SECONDS", Settings.sweep_seconds, lowest=1, highest=LONGEST_SECONDS),
        max_concurrent_sessions=_integer(
            env, "MAX_CONCURRENT_SESSIONS", Settings.max_concurrent_sessions, lowest=1, highest=1_000_000
        ),
        deadlines=_deadlines(env),
        kubeconfig=env.get("KUBECONFIG") or None,
        log_level=_word(env, "LOG_LEVEL", Settings.log_level, LOG_LEVELS),
    )


def _deadlines(env: Mapping[str, str]) -> Deadlines:
    """Read each deadline from the variable of its name."""
    chosen = {}
    for item in fields(Deadlines):
        default = int(getattr(DEFAULT_DEADLINES, item.name).total_seconds())
        name = f"DEADLINE_{item.name.upper()}_SECONDS"
        chosen[item.name] = timedelta(seconds=_integer(env, name, default, lowest=1, highest=LONGEST_SECONDS))
    return Deadlines(**chosen)


def _integer(env: Mapping[str, str], name: str, default: int, *, lowest: int, highest: int) -> int:
    text = env.get(PREFIX + name) or str(default)
    if not text.isascii() or not text.isdecimal() or not lowest <= int(text) <= highest:
        raise SettingsError(f"{PREFIX}{name} is {text!r}; it must be a whole number from {lowest} to {highest}")
    return int(text)


def _word(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    text = env.get(PREFIX + name) or default
    if text not in allowed:
        raise SettingsError(f"{PREFIX}{name} is {text!r}; it must be one of {', '.join(allowed)}")
    return text


def _url(env: Mapping[str, str], name: str, default: str) -> str:
    text = (env.get(PREFIX + name) or default).rstrip("/")
    if not text.startswith(("https://", "http://")):
        raise SettingsError(f"{PREFIX}{name} is {text!r}; it must begin with https:// (or http:// for tests)")
    return text
