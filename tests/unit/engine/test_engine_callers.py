"""Clients that speak for others: with the others' tokens, and nothing of our own."""

import ssl

import pytest

from agentsessions.engine.callers import Callers
from agentsessions.engine.client import Invalid
from agentsessions.engine.credentials import ClusterAccess, KeyMaterial, without_identity
from agentsessions.engine.resources import CONFIG_MAP
from tests.unit.engine.conftest import Answer, ScriptedServer


@pytest.fixture
def access(server: ScriptedServer) -> ClusterAccess:
    return ClusterAccess(server=server.url, ssl=False, token=lambda: "our-own")


async def test_each_caller_is_who_asks(server: ScriptedServer, access: ClusterAccess) -> None:
    server.plays(Answer(200, {"kind": "ConfigMap"}))
    callers = Callers(access, field_manager="tester")
    for token in ("alice", "bob"):
        await callers.client(token).create(CONFIG_MAP, "ns", {"metadata": {"name": "a"}})
        await callers.client(token).close()  # others go on
    assert [request.headers["Authorization"] for request in server.requests] == ["Bearer alice", "Bearer bob"]
    assert {request.query["fieldManager"] for request in server.requests} == {"tester"}
    await callers.close()


async def test_refusal_says_what_the_api_server_said(server: ScriptedServer, access: ClusterAccess) -> None:
    server.plays(Answer(422, {"reason": "Invalid", "message": "spec: no such thing"}))
    callers = Callers(access, field_manager="tester")
    with pytest.raises(Invalid) as refusal:
        await callers.client("alice").create(CONFIG_MAP, "ns", {"metadata": {"name": "a"}})
    assert refusal.value.said == "spec: no such thing"
    await callers.close()


def test_way_of_nobody_has_neither_certificate_nor_token() -> None:
    context = ssl.create_default_context()
    certificate = KeyMaterial(data=b"certificate")
    ours = ClusterAccess("https://x", context, lambda: "t", certificate=certificate, private_key=certificate)
    nobody = without_identity(ours)
    assert nobody.ssl is not context
    assert nobody.token() is None
    assert not nobody.certificate
    assert not nobody.private_key
    assert nobody.server == ours.server
