from ipaddress import ip_network

import pytest

from agentsessions.gateway.settings import SettingsError, read_settings


def test_settings_have_defaults_for_a_cluster() -> None:
    settings = read_settings({})
    assert (settings.namespace, settings.port, settings.health_port) == ("agentsessions-system", 8443, 8080)
    assert settings.database_url == "sqlite:////var/lib/agentsessions/journal.db"
    assert settings.allowed_provider_networks == ()
    assert settings.drain_seconds == 120


def test_settings_come_from_the_environment() -> None:
    settings = read_settings(
        {
            "AGENTSESSIONS_NAMESPACE": "elsewhere",
            "AGENTSESSIONS_PORT": "9443",
            "AGENTSESSIONS_INSTANCE": "gateway-1",
            "AGENTSESSIONS_ALLOWED_PROVIDER_NETWORKS": "10.0.0.0/8, fd00::/8,",
            "KUBECONFIG": "/kubeconfig",
        }
    )
    assert (settings.namespace, settings.port, settings.kubeconfig) == ("elsewhere", 9443, "/kubeconfig")
    assert settings.instance == "gateway-1"
    assert settings.allowed_provider_networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def test_traces_are_sent_where_opentelemetry_s_variable_says_and_without_content() -> None:
    assert (read_settings({}).traces, read_settings({}).trace_content) == (False, False)
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    assert (read_settings(there).traces, read_settings(there).trace_content) == (True, False)
    assert read_settings(there | {"AGENTSESSIONS_TRACE_CONTENT": "true"}).trace_content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("PORT", "http", id="a port that is no number"),
        pytest.param("PORT", "70000", id="a port out of range"),
        pytest.param("DRAIN_SECONDS", "-1", id="a negative time"),
        pytest.param("TRACE_CONTENT", "perhaps", id="neither yes nor no"),
        pytest.param("DATABASE_URL", "mysql://root@db/x", id="a database that is none of ours"),
        pytest.param("LOG_LEVEL", "loud", id="a level that does not exist"),
        pytest.param("ALLOWED_PROVIDER_NETWORKS", "10.0.0.1/8", id="a network with host bits"),
    ],
)
def test_a_setting_that_is_not_allowed_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"AGENTSESSIONS_{name}"):
        read_settings({f"AGENTSESSIONS_{name}": value})
