"""From the SQLite file of a running installation to PostgreSQL, as docs/postgresql.md tells it; sessions go on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from agentsessions.gateway.certificates import renew
from agentsessions.journal.store import utc_now
from hack.postgres.localpostgres.programs import ensure_programs
from hack.postgres.localpostgres.server import Server, create_folder
from tests.e2e.faults import scale
from tests.e2e.product import PATIENCE, ROOT, SYSTEM, Product
from tests.e2e.replicas import a_secret, upgrade, upgraded
from tests.e2e.seeds import a_user, connect

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.slow]

GATEWAY = "agentsessions-gateway"
JOB = "agentsessions-journal-copy"
URL, CA = "agentsessions-journal", "agentsessions-journal-ca"
"""Secrets, as the page and the Job name them."""
PUBLISHED = "ghcr.io/agentsessions/agentsessions:0.1.0"
ECHO = {"answer": {"text": "You said: ${text}"}}


@pytest.fixture
def later(product: Product) -> Iterator[ExitStack]:
    """What ends only after the namespace, whose sessions are looked at once more."""
    del product
    with ExitStack() as stack:
        yield stack


@pytest.mark.requirement("LIFE-11")
def test_an_installation_moves_to_postgresql_with_all_that_was_said(
    later: ExitStack, product: Product, namespace: str, host: str
) -> None:
    chain = renew(None, (host,), utc_now())
    folder = later.enter_context(create_folder())
    tls = (chain.leaf.certificate, chain.leaf.key)
    server = later.enter_context(Server(ensure_programs(), folder, is_durable=True, host=host, tls=tls))
    server.create_database("journal")
    later.enter_context(a_secret(product, URL, url=f"{server.remote_url('journal')}?sslmode=verify-full"))
    later.enter_context(a_secret(product, CA, **{"ca.crt": chain.ca.certificate.decode()}))

    product.create_script(namespace, "echo", ECHO)
    agents = [{"name": "agent", "model": {"providerRef": {"name": "echo"}}}]
    talk = {"sessionId": "talk", "agents": agents, "waitSeconds": 110}
    with a_user(product, namespace) as api:
        assert api.send("POST", "conversation", 200, {**talk, "message": "one"})["reply"] == "You said: one"
        first = api.get("agent-sessions", sessionId="talk")["items"][0]

    later.enter_context(upgraded(product, {}))
    later.enter_context(scale(product, SYSTEM, GATEWAY, 0))
    product.kubectl("apply", "-f", "-", stdin=the_job(product))
    product.kubectl("wait", "-n", SYSTEM, "--for=condition=Complete", f"job/{JOB}", PATIENCE)
    told = product.kubectl("logs", "-n", SYSTEM, f"job/{JOB}").stdout
    product.kubectl("delete", "job", "-n", SYSTEM, JOB)
    assert "their chains were verified" in told

    upgrade(product, {"gateway.journal.urlSecretRef.name": URL, "gateway.journal.caSecretRef.name": CA})
    assert server.execute("SELECT count(*) FROM pg_stat_ssl WHERE ssl", "journal") != "0\n"
    with connect(product, namespace) as api:
        found = api.get("agent-sessions")
        assert (found["total"], found["items"][0]["uid"]) == (1, first["uid"])
        again = api.send("POST", "conversation", 200, {**talk, "message": "two"})
        assert again["reply"] == "You said: two"
        assert again["messagesCount"] == 4
        assert api.get(f"agent-sessions/{first['uid']}/verify")["ok"]


def the_job(product: Product) -> str:
    """Return the Job of the page, with the image that is installed."""
    image = product.apps.read_namespaced_deployment(GATEWAY, SYSTEM).spec.template.spec.containers[0].image
    manifest = (ROOT / "manifests" / "journal-copy.yaml").read_text()
    assert PUBLISHED in manifest
    return manifest.replace(PUBLISHED, image)
