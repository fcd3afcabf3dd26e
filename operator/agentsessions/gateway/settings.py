"""What an administrator sets: read once from the environment at start, checked at once, never again."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from agentsessions.gateway.spans import to_span

PREFIX: Final = "AGENTSESSIONS_"
DEFAULT_DATABASE_URL: Final = "sqlite:////var/lib/agentsessions/journal.db"
DATABASES: Final = ("sqlite://", "postgresql://", "postgres://", "postgresql+psycopg://")
DEFAULT_NAMESPACE: Final = "agentsessions-system"
OTLP_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
HOST: Final = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?(:[0-9]{1,5})?")
ANY_HOST: Final = "*"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """A variable of the environment holds what is not allowed."""


@dataclass(frozen=True)
class Settings:
    """Settings of the gateway; each comes from the variable of its name with the prefix `AGENTSESSIONS_`."""

    namespace: str = DEFAULT_NAMESPACE
    """Namespace of the installation: shared ModelProviders, the TLS Secret, the operator's service account."""
    database_url: str = DEFAULT_DATABASE_URL
    """URL of the journal: `sqlite:////path` or `postgresql://user:password@host:5432/database`."""
    instance: str = ""
    """Name of this gateway among those of one journal; the pod's name. One is made up where it is empty."""
    allowed_provider_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that model providers may be in although they are private, link-local or the cluster's."""
    allowed_tool_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Likewise for ToolServers."""
    allowed_http_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Likewise for the tool Http, whose hosts the authors of sessions choose."""
    allowed_webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Likewise for SessionWebhooks."""
    http_hosts: tuple[str, ...] = (ANY_HOST,)
    """Hosts that sessions may allow their tool Http at most: `api.example.com`, `*.example.com`, or `*` for any."""
    kubeconfig: str | None = None
    """Credentials outside a cluster (variable KUBECONFIG); inside it the pod's service account."""
    host: str = ""
    """Address to listen on; empty means each one, IPv4 and IPv6."""
    port: int = 8443
    """Port of the API, TLS."""
    health_port: int = 8080
    """Port of health and metrics, plain."""
    streams_per_user: int = 100
    """Live streams that one user may have open on one gateway."""
    journal_retention: timedelta | None = None
    """How long sessions whose resource is gone are kept, where their namespace does not say; None: for ever."""
    drain_seconds: int = 120
    """How long a stop waits for purchases under way."""
    sessions_per_minute: int = 120
    """Most sessions that one user may create in a minute by HTTP; 0 for any number."""
    messages_per_minute: int = 1200
    """Most messages that one user may send in a minute; 0 for any number."""
    log_level: str = "info"
    """Least severe level that is logged."""
    traces: bool = False
    """Whether to send traces: OpenTelemetry's own variable OTEL_EXPORTER_OTLP_ENDPOINT says where to."""
    trace_content: bool = False
    """Whether messages of models go into the traces."""


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from the environment.

    Raises:
        SettingsError: A variable's value is not allowed; the text names both.
    """
    env = os.environ if environ is None else environ
    return Settings(
        namespace=env.get(f"{PREFIX}NAMESPACE") or DEFAULT_NAMESPACE,
        database_url=_database_url(env),
        instance=env.get(f"{PREFIX}INSTANCE", ""),
        allowed_provider_networks=_networks(env, "ALLOWED_PROVIDER_NETWORKS"),
        allowed_tool_networks=_networks(env, "ALLOWED_TOOL_NETWORKS"),
        allowed_http_networks=_networks(env, "ALLOWED_HTTP_NETWORKS"),
        allowed_webhook_networks=_networks(env, "ALLOWED_WEBHOOK_NETWORKS"),
        http_hosts=_hosts(env, "HTTP_HOSTS"),
        kubeconfig=env.get("KUBECONFIG") or None,
        host=env.get(f"{PREFIX}HOST", ""),
        port=_integer(env, "PORT", Settings.port, lowest=0, highest=65_535),
        health_port=_integer(env, "HEALTH_PORT", Settings.health_port, lowest=0, highest=65_535),
        streams_per_user=_integer(env, "STREAMS_PER_USER", Settings.streams_per_user, lowest=1, highest=100_000),
        journal_retention=_span(env, "JOURNAL_RETENTION"),
        drain_seconds=_integer(env, "DRAIN_SECONDS", Settings.drain_seconds, lowest=0, highest=3600),
        sessions_per_minute=_integer(env, "SESSIONS_PER_MINUTE", Settings.sessions_per_minute, lowest=0, highest=10**6),
        messages_per_minute=_integer(env, "MESSAGES_PER_MINUTE", Settings.messages_per_minute, lowest=0, highest=10**6),
        log_level=_word(env, "LOG_LEVEL", Settings.log_level, LOG_LEVELS),
        traces=any(env.get(name) for name in OTLP_ENDPOINTS),
        trace_content=_word(env, "TRACE_CONTENT", "false", ("true", "false")) == "true",
    )


def _database_url(env: Mapping[str, str]) -> str:
    name, url = f"{PREFIX}DATABASE_URL", (env.get(f"{PREFIX}DATABASE_URL") or DEFAULT_DATABASE_URL).strip()
    if not url.startswith(DATABASES):  # its text is not told: it may hold a password
        raise SettingsError(f"{name} is no URL of a journal; it must begin with one of {', '.join(DATABASES)}")
    return url


def _integer(env: Mapping[str, str], name: str, default: int, *, lowest: int, highest: int) -> int:
    text = env.get(PREFIX + name) or str(default)
    if not text.isascii() or not text.isdecimal() or not lowest <= int(text) <= highest:
        raise SettingsError(f"{PREFIX}{name} is {text!r}; it must be a whole number from {lowest} to {highest}")
    return int(text)


def _word(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    text = (env.get(PREFIX + name) or default).lower()
    if text not in allowed:
        raise SettingsError(f"{PREFIX}{name} is {text!r}; it must be one of {', '.join(allowed)}")
    return text


def _span(env: Mapping[str, str], name: str) -> timedelta | None:
    try:
        return to_span(env.get(PREFIX + name, ""))
    except ValueError as error:
        raise SettingsError(f"{PREFIX}{name}: {error}") from error


def _hosts(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    hosts = tuple(part.strip() for part in env.get(PREFIX + name, ANY_HOST).split(",") if part.strip())
    for host in hosts:
        if host != ANY_HOST and HOST.fullmatch(host) is None:
            raise SettingsError(f"{PREFIX}{name} has {host!r}; write hosts such as api.example.com,*.example.com or *")
    return hosts


def _networks(env: Mapping[str, str], name: str) -> tuple[IPv4Network | IPv6Network, ...]:
    parts = [part.strip() for part in env.get(PREFIX + name, "").split(",") if part.strip()]
    try:
        return tuple(ip_network(part) for part in parts)
    except ValueError as error:
        raise SettingsError(
            f"{PREFIX}{name} is {','.join(parts)!r}: {error}; write networks such as 10.0.0.0/8,fd00::/8"
        ) from error
