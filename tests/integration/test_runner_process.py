"""The runner as a process: killed at every point and started afresh, told to stop, and watched for what it dials."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentsessions.api import wire
from agentsessions.api.reasons import ExitCode
from tests.integration.runner_process import RunnerProcess
from tests.unit.runner.peer import Answer, Peer, call, problem

ANSWERS = {
    1: Answer(
        text="Let me look.",
        calls=(
            call("call-1", "shell", {"command": "echo one >> effects"}),
            call("call-2", "shell", {"command": "echo two >> effects"}),
        ),
    ),
    2: Answer(text="Sprockets."),
}


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with Peer(dict(ANSWERS)).serve() as serving:
        yield serving


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize(
    ("point", "asked"),
    [
        pytest.param("turn", {1: 1, 2: 1}, id="before the call"),
        pytest.param("model", {1: 1, 2: 1}, id="while the model is asked"),
        pytest.param("answer", {1: 2, 2: 1}, id="in the middle of the answer"),
        pytest.param("begin", {1: 2, 2: 1}, id="after the answer"),
        pytest.param("settle", {1: 2, 2: 1}, id="when a tool has run and its result is not reported"),
        pytest.param("settled", {1: 2, 2: 1}, id="when a result is reported and the runner does not know"),
        pytest.param("commit", {1: 2, 2: 1}, id="before the commit"),
        pytest.param("committed", {1: 1, 2: 1}, id="after the commit"),
    ],
)
async def test_runner_killed_anywhere_goes_on_without_doing_anything_twice(
    tmp_path: Path, peer: Peer, point: str, asked: dict[int, int]
) -> None:
    runner = RunnerProcess(tmp_path)
    hold = peer.hold(point)
    first = await runner.start(peer.url)
    await hold.reached.wait()
    first.kill()
    await first.wait()
    peer.drop()

    assert await runner.run(peer.url) == ExitCode.DONE

    assert (runner.workspace / "effects").read_text() == "one\ntwo\n"
    assert [c.outcome for c in peer.commits] == ["continue", "final"]
    assert {k: len(bodies) for k, bodies in peer.asked.items()} == asked
    assert all(len(set(bodies)) == 1 for bodies in peer.asked.values()), "asked again with the same bytes"
    assert sorted(peer.bought.values()) == [1, 2]
    assert not list((runner.workspace / ".agentsessions/results").iterdir())


@pytest.mark.requirement("LIFE-11")
async def test_runner_killed_in_a_tool_runs_it_again_and_records_it_once(tmp_path: Path, peer: Peer) -> None:
    command = f"echo ran >> effects; curl -s {peer.url}/running; test $(wc -l < effects) -gt 1 || sleep 600"
    peer.answers[1] = Answer(calls=(call("call-1", "shell", {"command": command}),))
    runner = RunnerProcess(tmp_path)
    first = await runner.start(peer.url)
    await peer.tool_running.wait()
    first.kill()
    await first.wait()

    assert await runner.run(peer.url) == ExitCode.DONE
    assert (runner.workspace / "effects").read_text() == "ran\nran\n"
    assert list(peer.recorded) == ["call-1"]
    assert len(set(peer.asked[1])) == 1


@pytest.mark.requirement("LIFE-5")
async def test_runner_stops_in_a_tool_when_told_to(tmp_path: Path, peer: Peer) -> None:
    command = f"curl -s {peer.url}/running; sleep 600"
    peer.answers[1] = Answer(calls=(call("call-1", "shell", {"command": command}), ANSWERS[1].calls[1]))
    runner = RunnerProcess(tmp_path)
    process = await runner.start(peer.url)
    await peer.tool_running.wait()
    process.terminate()
    assert await process.wait() == ExitCode.TERMINATED
    assert [b.call_id for b in peer.begun] == ["call-1"]
    assert not peer.recorded
    assert not peer.commits


@pytest.mark.requirement("LIFE-5")
@pytest.mark.parametrize("point", ["model", "answer", "turn", "commit"])
async def test_runner_stops_while_it_waits_when_told_to(tmp_path: Path, peer: Peer, point: str) -> None:
    runner = RunnerProcess(tmp_path)
    hold = peer.hold(point)
    process = await runner.start(peer.url)
    await hold.reached.wait()
    process.terminate()
    assert await process.wait() == ExitCode.TERMINATED
    assert not peer.commits


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        pytest.param(412, "stale_epoch", ExitCode.TERMINATED, id="a newer epoch plays"),
        pytest.param(402, "step_limit", ExitCode.LIMIT, id="a limit is reached"),
        pytest.param(403, "forbidden", ExitCode.REFUSED, id="a policy refuses"),
        pytest.param(400, "turn_mismatch", ExitCode.ERROR, id="anything else"),
    ],
)
async def test_runner_tells_by_its_exit_code_why_it_ended(
    tmp_path: Path, peer: Peer, status: int, code: str, exit_code: ExitCode
) -> None:
    peer.failures[wire.COMMIT_PATH].append(problem(status, code))
    assert await RunnerProcess(tmp_path).run(peer.url) == exit_code


@pytest.mark.requirement("ID-5")
async def test_runner_dials_the_gateway_and_nothing_else(tmp_path: Path) -> None:
    ca, server = make_certificates(tmp_path)
    async with Peer(dict(ANSWERS)).serve(server) as peer:
        runner = RunnerProcess(tmp_path, ca)
        assert await runner.run(peer.url) == ExitCode.DONE
        port = int(peer.url.rsplit(":", 1)[1])
    dialled = set(runner.dialled.read_text().splitlines())
    allowed = {f'connect ["127.0.0.1", {port}]', f'connect ["::1", {port}, 0, 0]', "socket.getaddrinfo localhost"}
    assert dialled
    assert dialled <= allowed


@pytest.mark.requirement("ID-5")
async def test_runner_does_not_talk_to_a_gateway_of_another_ca(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    ca, _ = make_certificates(tmp_path)
    _, server = make_certificates(tmp_path / "other")
    async with Peer(dict(ANSWERS)).serve(server) as peer:
        assert await RunnerProcess(tmp_path, ca, patience_seconds=0.2).run(peer.url) == ExitCode.ERROR
        assert not peer.tokens_seen


def make_certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a CA and a server with a certificate for localhost; return the CA's file and the server's side."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = (
        x509.CertificateBuilder()
        .issuer_name(ca_name)
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
    )
    ca = (
        builder.subject_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .public_key(key.public_key())
        .serial_number(2)
        .add_extension(names, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "tls.crt").write_bytes(leaf.public_bytes(pem))
    (folder / "tls.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return folder / "ca.crt", context
