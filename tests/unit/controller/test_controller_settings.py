from datetime import timedelta

import pytest

from agentsessions.controller.settings import SettingsError, read_settings


def test_settings_have_defaults_for_everything() -> None:
    settings = read_settings({})
    assert settings.gateway_url == "https://agentsessions-gateway.agentsessions-system.svc"
    assert settings.deadlines.starting == timedelta(minutes=10)
    assert not settings.leader_election


def test_settings_follow_the_environment() -> None:
    settings = read_settings(
        {
            "AGENTSESSIONS_NAMESPACE": "ags",
            "AGENTSESSIONS_LEADER_ELECTION": "true",
            "AGENTSESSIONS_POD_NAME": "operator-1",
            "AGENTSESSIONS_RUNNER_IMAGE": "registry.example/ags:1",
            "AGENTSESSIONS_DEADLINE_AWAITING_JOURNAL_SECONDS": "30",
        }
    )
    assert settings.gateway_url == "https://agentsessions-gateway.ags.svc"
    assert (settings.leader_election, settings.pod_name) == (True, "operator-1")
    assert settings.pods.runner_image == "registry.example/ags:1"
    assert settings.deadlines.awaiting_journal == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENTSESSIONS_GATEWAY_URL", "gateway.example"),
        ("AGENTSESSIONS_RUNNER_PULL_POLICY", "Sometimes"),
        ("AGENTSESSIONS_WORKERS", "0"),
        ("AGENTSESSIONS_LEADER_ELECTION", "yes"),
        ("AGENTSESSIONS_DEADLINE_STARTING_SECONDS", "soon"),
        ("AGENTSESSIONS_LOG_LEVEL", "loud"),
    ],
)
def test_settings_name_variable_and_value_that_are_wrong(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is '{value}'"):
        read_settings({name: value})
