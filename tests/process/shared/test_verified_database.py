"""A database that is known by its certificate: what the chart's `gateway.journal.caSecretRef` and the URL ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentsessions.gateway.certificates import Pair, renew
from agentsessions.journal.refusals import StoreUnavailable
from agentsessions.journal.store import Store, utc_now
from hack.postgres.localpostgres.programs import ensure_programs
from hack.postgres.localpostgres.server import Server, create_folder
from tests.journal.builders import a_session

HOST = "127.0.0.1"
DATABASE = "journal"
CHAIN = renew(None, (HOST,), utc_now())


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """URL of a database on a server that shows a certificate."""
    tls = (CHAIN.leaf.certificate, CHAIN.leaf.key)
    with create_folder() as folder, Server(ensure_programs(), folder, is_durable=False, host=HOST, tls=tls) as server:
        server.create_database(DATABASE)
        yield f"{server.remote_url(DATABASE)}?sslmode=verify-full"


async def test_a_database_with_a_certificate_of_the_ca_is_used(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.crt").write_bytes(CHAIN.ca.certificate)
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "ca.crt"))
    store = await Store.open(url, instance="one")
    try:
        await store.put_session(a_session())
        assert await store.verify("s1") == []
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("ca", "host"),
    [
        pytest.param(renew(None, (HOST,), utc_now()).ca, HOST, id="of another CA"),
        pytest.param(CHAIN.ca, "localhost", id="with another name"),
    ],
)
async def test_a_database_with_another_certificate_gets_nothing(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ca: Pair, host: str
) -> None:
    (tmp_path / "ca.crt").write_bytes(ca.certificate)
    monkeypatch.setenv("PGSSLROOTCERT", str(tmp_path / "ca.crt"))
    with pytest.raises(StoreUnavailable):
        await Store.open(url.replace(HOST, host), instance="one")
