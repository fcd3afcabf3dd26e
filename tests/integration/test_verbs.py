"""`kubectl auth can-i` tells the truth: for each verb of ours, what it says is what happens, before and after a grant.

Each verb has a user of its own, who has all else that the act takes. Where kubectl does it, kubectl does it as that
user; messages are no part of a resource, and go by the gateway with that user's token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest

from tests.integration.crds_chart import private_policies
from tests.integration.crds_cluster import Kubectl, a_session, an_approval
from tests.integration.gateway_process import (
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    grant,
    mint,
)
from tests.integration.test_crds_admission import await_refusal

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300), pytest.mark.requirement("ID-3")]

PATH = "/api/v1/agent-sessions"
CHANGE = ("get,patch", "agentsessions")


@dataclass(frozen=True)
class Place:
    """A namespace under the chart's policies, with a gateway."""

    home: Kubectl
    gateway: GatewayProcess

    def user(self, account: str) -> str:
        return f"system:serviceaccount:{self.home.namespace}:{account}"

    def as_(self, account: str) -> Kubectl:
        return replace(self.home, user=self.user(account))


@dataclass(frozen=True)
class Verb:
    """A verb, and what it lets a user do: a session or approval `name`; the act returns why it was refused."""

    resource: str
    act: Callable[[Place, str, str], str]
    """By place, account and name."""
    needs: tuple[tuple[str, str], ...] = ()
    """Verbs and resources that the act takes besides."""
    spec: dict[str, object] = field(default_factory=dict)
    """Of the session."""


def patch(kind: str, change: dict[str, object]) -> Callable[[Place, str, str], str]:
    def act(place: Place, account: str, name: str) -> str:
        text = json.dumps({"spec": change})
        return place.as_(account).run("patch", kind, name, "--type=merge", "--patch", text).stderr

    return act


def approve(place: Place, account: str, name: str) -> str:
    return patch("sap", {"decisions": {place.user(account): {"answer": "Approve"}}})(place, account, name)


def own(place: Place, account: str, name: str) -> str:
    """Make a session for somebody else, and change the one that there is."""
    theirs = a_session(f"{name}-new", owner="alice")
    made = place.as_(account).run("create", "-f", "-", manifest=theirs).stderr
    changed = patch("ags", {"title": "changed"})(place, account, name)
    assert bool(made) == bool(changed)
    return changed


def by_gateway(method: str, path: str, **body: object) -> Callable[[Place, str, str], str]:
    def act(place: Place, account: str, name: str) -> str:
        with place.gateway.client(mint(place.home, account), namespace=place.home.namespace) as client:
            answer = client.request(method, path.format(name=name), json=body or None)
            assert answer.is_success or answer.status_code == 403, answer.text
            return "" if answer.is_success else str(answer.json()["detail"])

    return act


VERBS = {
    "pause": Verb("agentsessions", patch("ags", {"operatingMode": "Paused"}), (CHANGE,)),
    "resume": Verb("agentsessions", patch("ags", {"operatingMode": "Running"}), (CHANGE,), {"operatingMode": "Paused"}),
    "cancel": Verb("agentsessions", patch("ags", {"operatingMode": "Cancelled"}), (CHANGE,)),
    "own": Verb("agentsessions", own, (("get,patch,create", "agentsessions"),), {"owner": "alice"}),
    "approve": Verb("sessionapprovals", approve, (("get,patch", "sessionapprovals"),)),
    "send": Verb("agentsessions", by_gateway("POST", f"{PATH}/{{name}}/messages", content="hello")),
    "get agentsessions/messages": Verb(
        "agentsessions/messages", by_gateway("GET", f"{PATH}/{{name}}/messages"), (("get", "agentsessions"),)
    ),
    "get agentsessions/events": Verb("agentsessions/events", by_gateway("GET", f"{PATH}/{{name}}/replay")),
    "delete agentsessions/messages": Verb("agentsessions/messages", by_gateway("DELETE", f"{PATH}/{{name}}/messages")),
    "list agentsessions/audit": Verb("agentsessions/audit", by_gateway("GET", "/api/v1/audit")),
}


@pytest.fixture(scope="module")
def place(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with a_namespace(cluster, "verbs-home") as home, a_namespace(cluster, "verbs-install") as install:
        bundle = private_policies(home.namespace)
        home("create", "--filename", "-", manifest=bundle)
        gateway = GatewayProcess(install, tmp_path_factory.mktemp("gateway"))
        create_account(install, "agentsessions-operator")
        gateway.start()
        operator = replace(home, user=f"system:serviceaccount:{home.namespace}:agentsessions-operator")
        home("create", "role", "operator", "--verb=get,create,patch", "--resource=sessionapprovals")
        home("create", "rolebinding", "operator", "--role=operator", f"--user={operator.user}")
        try:
            dry = ("create", "--dry-run=server", "-f", "-")
            await_refusal(lambda: home.run(*dry, manifest=an_approval("early")))
            operator("create", "-f", "-", manifest=an_approval("approve"))
            yield Place(home, gateway)
        finally:
            gateway.kill()
            home.run("delete", "--filename", "-", manifest=bundle)


@pytest.mark.parametrize("words", VERBS, ids=str)
def test_can_i_says_what_happens(place: Place, words: str) -> None:
    verb, found = words.split(maxsplit=1)[0], VERBS[words]
    name = words.replace(" ", "-").replace("/", "-")
    resource, _, subresource = found.resource.partition("/")
    can_i = ["auth", "can-i", verb, f"{resource}.agentsessions.dev", "--quiet"]
    can_i += [f"--subresource={subresource}"] if subresource else []
    create_account(place.home, name)
    for verbs, resources in found.needs:
        grant(place.home, name, verbs, resources)
    if found.resource.startswith("agentsessions"):
        create_session(place.home, name, **{"conversation": {"open": True}, **found.spec})

    assert place.as_(name).run(*can_i).returncode != 0
    eventually(lambda: verb in (refused := found.act(place, name, name)) or "not found" in refused, "it is refused")
    grant(place.home, name, verb, found.resource)
    eventually(lambda: place.as_(name).run(*can_i).returncode == 0, "the API server knows the right")
    eventually(lambda: found.act(place, name, name) == "", "it is done")
