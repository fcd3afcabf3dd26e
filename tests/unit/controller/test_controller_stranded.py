"""Which pods cannot find the gateway any more."""

from typing import Any

import pytest

from agentsessions.controller.stranded import is_stranded
from agentsessions.controller.views import to_pod
from tests.unit.controller.objects import a_raw_pod

pytestmark = pytest.mark.requirement("ID-5")

HOST = "agentsessions-gateway.agentsessions-system.svc"
NOW = ("10.96.7.8", "fd00::8")


@pytest.mark.parametrize(
    ("aliases", "status", "is_it"),
    [
        pytest.param(["10.96.7.7"], {"phase": "Running"}, True, id="a pod that knows a former address alone"),
        pytest.param(["10.96.7.7", "fd00::7"], {"phase": "Pending"}, True, id="a pod that is about to start with it"),
        pytest.param(["10.96.7.8"], {"phase": "Running"}, False, id="the Service got a second family since"),
        pytest.param(["10.96.7.7", "fd00::8"], {"phase": "Running"}, False, id="one of two families was renumbered"),
        pytest.param(["10.96.7.7"], {"phase": "Succeeded"}, False, id="a pod that ended"),
        pytest.param([], {"phase": "Running"}, False, id="a pod that asks a name server"),
    ],
)
def test_pod_is_stranded_only_when_no_address_that_it_knows_is_the_gateways(
    aliases: list[str], status: dict[str, Any], *, is_it: bool
) -> None:
    raw = a_raw_pod(status)
    raw["spec"]["hostAliases"] = [{"ip": address, "hostnames": [HOST]} for address in aliases]
    pod = to_pod(raw)
    assert pod is not None
    assert is_stranded(pod, NOW) is is_it


def test_pod_that_is_being_deleted_is_left_alone() -> None:
    raw = a_raw_pod({"phase": "Running"}, deletionTimestamp="2026-11-21T12:01:00Z")
    raw["spec"]["hostAliases"] = [{"ip": "10.96.7.7", "hostnames": [HOST]}]
    pod = to_pod(raw)
    assert pod is not None
    assert not is_stranded(pod, NOW)
