"""A client that loses its connection again and again sees each event once, in order."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import httpx2
import pytest

from tests.e2e.faults import await_ready, kill_and_delete
from tests.e2e.product import LONG_SECONDS, SYSTEM, Json, Product
from tests.e2e.provider import CountingProvider, run_shell, say
from tests.e2e.stage import Stage

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

GATEWAY = "agentsessions-gateway"
CUT_SECONDS = 0.3
CUT_BYTES = 3000
"""More than one frame, and no whole number of them: cuts fall into the middle of events."""
STEPS = 6


class Client:
    """Follows a session, hangs up every so often, and comes back with the last id that it saw whole."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.seen: list[Json] = []
        self.connections = 0
        self.cuts_in_a_frame = 0
        self.is_over = False

    def follow(self, until: Callable[[], bool]) -> None:
        """Connect again and again until the condition holds, or nothing more is to come."""
        deadline = time.monotonic() + LONG_SECONDS
        with self._stage.product.gateway() as gateway:
            while not self.is_over and not until():
                assert time.monotonic() < deadline, f"no end after {self.connections} connections"
                with self._connect(gateway.http) as answer:
                    self._read(answer)

    def lose(self, act: Callable[[], None]) -> None:
        """Connect, let something happen to the other side, and read what still comes."""
        with (
            suppress(httpx2.TransportError),
            self._stage.product.gateway() as gateway,
            self._connect(gateway.http) as answer,
        ):
            act()
            self._read(answer)

    @contextmanager
    def _connect(self, http: httpx2.Client) -> Iterator[httpx2.Response]:
        self.connections += 1
        path = f"/api/v1/agent-sessions/{self._stage.name}/events"
        last_id = self.seen[-1]["id"] if self.seen else 0
        headers = {"Last-Event-ID": str(last_id)}
        params = {"namespace": self._stage.namespace}
        with http.stream("GET", path, params=params, headers=headers, timeout=LONG_SECONDS) as answer:
            answer.raise_for_status()
            answer.request.extensions["timeout"]["read"] = CUT_SECONDS  # of its events; a gateway may be just up
            self.is_over = answer.status_code == httpx2.codes.NO_CONTENT
            yield answer

    def _read(self, answer: httpx2.Response) -> None:
        ends_at, left = time.monotonic() + CUT_SECONDS, b""
        with suppress(httpx2.ReadTimeout):  # silence is cut as well
            for piece in answer.iter_raw(CUT_BYTES):
                *frames, left = (left + piece).split(b"\n\n")
                self.seen += [event for frame in frames if (event := to_event(frame))]
                if len(piece) == CUT_BYTES or time.monotonic() >= ends_at:
                    break
        self.cuts_in_a_frame += bool(left)


def to_event(frame: bytes) -> Json | None:
    """Return the entry that a frame holds; comments hold none, nor does the text of an answer under way."""
    fields = dict(line.split(": ", 1) for line in frame.decode().splitlines() if not line.startswith((":", "retry")))
    return {"id": int(fields["id"]), "event": fields["event"], **json.loads(fields["data"])} if "id" in fields else None


@pytest.fixture
def stage(product: Product, namespace: str, host: str) -> Iterator[Stage]:
    answers = [*[run_shell(f"sleep 0.4; seq {100 * n}") for n in range(1, STEPS)], say("Done.")]
    with CountingProvider(host, answers).serve() as provider:
        yield Stage(product, namespace, provider)


@pytest.mark.requirement("STEP-2")
def test_client_that_is_cut_and_comes_back_sees_each_event_once(product: Product, stage: Stage) -> None:
    gate = stage.provider.hold(STEPS // 2)
    stage.begin()
    stage.running_pod()
    client = Client(stage)
    client.follow(gate.reached.is_set)
    client.lose(lambda: kill_and_delete(product, SYSTEM, GATEWAY))
    await_ready(product, SYSTEM, GATEWAY)
    before_restart = len(client.seen)
    gate.opened.set()
    client.follow(lambda: False)
    ids = [event["id"] for event in client.seen]
    with product.gateway() as gateway:
        assert ids == list(range(1, gateway.get(f"/{stage.name}/verify", namespace=stage.namespace)["head"] + 1))
        in_one_go = stage.entries(gateway)
    assert [event["body"] for event in client.seen] == [event["body"] for event in in_one_go]
    assert client.seen[-1]["event"] == "done"
    assert 0 < before_restart < len(ids)
    assert client.connections > STEPS
    later = Client(stage)  # what was slow to come may never have filled a connection; now all is there
    later.follow(lambda: False)
    assert [event["id"] for event in later.seen] == ids
    assert later.cuts_in_a_frame > 0, "no cut fell into an event: make CUT_BYTES another number"
