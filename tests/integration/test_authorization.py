"""The authorization matrix: each route, asked by each kind of caller, on a real API server.

Accounts have the chart's own roles, under names of the test's, in the namespace of the session that is asked about.
"""

import base64
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from agentsessions.gateway.app import all_routes
from agentsessions.gateway.audit import ACT
from tests.integration.authorization import IN, PATH, ROWS, Caller, Row
from tests.integration.crds_chart import chart_objects
from tests.integration.crds_cluster import Kubectl, Manifest, a_provider
from tests.integration.gateway_process import (
    AUDIENCE,
    GatewayProcess,
    a_namespace,
    create_account,
    create_session,
    eventually,
    mint,
    mint_for_pod,
    write_status,
)
from tests.integration.oidc_issuer import sign

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(300),
    pytest.mark.requirement("ID-1"),
    pytest.mark.requirement("ID-2"),
]

C = Caller
RBAC = "rbac.authorization.k8s.io"
RUNNER = "agentsessions-runner"
ROLES = {
    C.VIEWER: "view",
    C.USER: "user",
    C.OWNER: "user",
    C.SESSION_OPERATOR: "session-operator",
    C.ADMIN: "admin",
}
SCRIPT = {"rules": [{"answer": {"text": "done"}}]}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}
CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def sign_again(token: str, key_file: Path, *, lives_seconds: int) -> str:
    """Return the token as the API server would have signed it to end in `lives_seconds`."""
    assert key_file.exists(), f"{key_file}: the local cluster's key is needed, `make cluster-up` makes it"
    head, claims = (decode(part) for part in token.split(".")[:2])
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    now = int(time.time())
    return sign(head, claims | {"iat": now - 7200, "nbf": now - 7200, "exp": now + lives_seconds}, key)


def decode(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def bind(kubectl: Kubectl, account: str, role: str, *, of: str = "") -> None:
    """Give a service account a ClusterRole in the namespace."""
    subject = f"--serviceaccount={of or kubectl.namespace}:{account}"
    kubectl("create", "rolebinding", f"{account}-{len(role)}", f"--clusterrole={role}", subject)


@dataclass(frozen=True)
class Stage:
    """A gateway, a namespace with sessions and accounts, and what each caller sends."""

    gateway: GatewayProcess
    home: Kubectl
    owner: str
    tokens: dict[Caller, str | None]
    key_file: Path

    def client(self, caller: Caller) -> httpx2.Client:
        return self.gateway.client(self.tokens[caller], namespace=self.home.namespace)


def to_private(thing: Manifest, prefix: str, home: str) -> Manifest:
    """Return a role or policy of the chart under a name of the test's; bindings bind in the test's namespaces."""
    name = f"{prefix}-{thing['metadata']['name']}"
    thing = thing | {"metadata": {"name": name}}
    if "roleRef" in thing:
        thing["roleRef"] = thing["roleRef"] | {"name": f"{prefix}-{thing['roleRef']['name']}"}
    if thing["kind"] == "ValidatingAdmissionPolicyBinding":
        where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": home}}}
        policy = f"{prefix}-{thing['spec']['policyName']}"
        thing["spec"] = thing["spec"] | {"policyName": policy, "matchResources": where}
    return thing


def wanted_of_chart(install: str, home: str) -> Manifest:
    """Return the chart's roles and its policy on owners."""
    found = [
        to_private(thing, install, home)
        for thing in chart_objects(install)
        if thing["kind"] in {"ClusterRole", "ClusterRoleBinding"} or thing["metadata"]["name"] == "agentsessions-owner"
    ]
    return {"apiVersion": "v1", "kind": "List", "items": found}


@pytest.fixture(scope="module")
def stage(cluster: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with (
        a_namespace(cluster, "matrix-install") as install,
        a_namespace(cluster, "matrix-home") as home,
        a_namespace(cluster, "matrix-next") as neighbour,
    ):
        bundle = wanted_of_chart(install.namespace, home.namespace)
        install("create", "-f", "-", manifest=bundle)
        gateway = GatewayProcess(install, tmp_path_factory.mktemp("gateway"))
        create_account(install, "agentsessions-operator")
        gateway.start()
        try:
            key_file = Path(cluster.kubeconfig).parent / "certificates" / "service-accounts.key"
            stage = Stage(gateway, home, f"system:serviceaccount:{home.namespace}:owner", {}, key_file)
            make_people(stage, install, neighbour)
            make_pods(stage)
            with stage.client(C.ADMIN) as admin:
                eventually(lambda: admin.get("/api/v1/audit").is_success, "the bindings are known")
            yield stage
        finally:
            gateway.kill()
            install.run("delete", "-f", "-", manifest=bundle)


def make_people(stage: Stage, install: Kubectl, neighbour: Kubectl) -> None:
    home, tokens = stage.home, stage.tokens
    for caller, role in ROLES.items():
        account = caller.value.replace(" ", "-")
        create_account(home, account)
        bind(home, account, f"{install.namespace}-agentsessions-{role}")
        tokens[caller] = mint(home, account)
    create_account(home, "stranger")
    create_account(neighbour, "neighbour")
    bind(neighbour, "neighbour", f"{install.namespace}-agentsessions-admin")
    tokens[C.NOBODY] = None
    tokens[C.STRANGER] = mint(home, "stranger")
    tokens[C.NEIGHBOUR] = mint(neighbour, "neighbour")
    tokens[C.EXPIRED] = sign_again(str(tokens[C.ADMIN]), stage.key_file, lives_seconds=-3600)
    tokens[C.WRONG_AUDIENCE] = mint(home, "admin", "--audience", "another-service")
    tokens[C.OPERATOR] = mint(install, "agentsessions-operator", "--audience", AUDIENCE)
    tokens[C.OPERATOR_ELSEWHERE] = mint(install, "agentsessions-operator")


def make_pods(stage: Stage) -> None:
    """Create the two sessions with the pods that speak for them, and a pod that speaks for none."""
    create_account(stage.home, RUNNER)
    stage.home("create", "-f", "-", manifest=a_provider("default", type="Scripted", script=SCRIPT))
    for name, caller in (("mine", C.OWN_POD), ("theirs", C.OTHER_POD)):
        create_session(stage.home, name, goal=f"Goal of {name}.", owner=stage.owner)
        uid, stage.tokens[caller] = mint_for_pod(stage.home, RUNNER, name)
        row = {"name": "agent", "state": "Starting", "epoch": 1, "podUID": uid}
        write_status(stage.home, name, "Running", agents=[row])
        with stage.client(caller) as pod:
            eventually(lambda pod=pod: may_speak(pod), f"the pod of {name} may speak")
    _, stage.tokens[C.NEW_POD] = mint_for_pod(stage.home, RUNNER, "new")


def may_speak(pod: httpx2.Client) -> bool:
    answer = pod.get("/runner/v1/turn")
    assert answer.status_code in {200, 425, 503}, answer.text
    return answer.status_code == httpx2.codes.OK


def routes_of(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str, BaseRoute]]:
    """Yield method, path and route of all that an app answers; a WebSocket's method is WS."""
    for route in routes:
        if isinstance(route, Mount):
            for method, path, inner in routes_of(route.routes):
                yield method, f"{route.path}{path}", inner
        elif (included := getattr(route, "original_router", None)) is not None:
            yield from routes_of(included.routes)
        elif isinstance(route, WebSocketRoute):
            yield "WS", route.path, route
        else:
            assert isinstance(route, Route), f"{route!r} is of a kind that this test cannot read"
            for method in sorted((route.methods or set()) - {"HEAD"}):
                yield method, route.path, route


def app_routes() -> list[tuple[str, str, BaseRoute]]:
    return list(routes_of(all_routes().routes))


def test_each_route_of_the_app_has_a_row_for_each_caller() -> None:
    assert {(method, path) for method, path, _ in app_routes()} == {(row.method, row.path) for row in ROWS}
    assert [str(row) for row in ROWS if set(row.cells) != set(Caller)] == []


@pytest.mark.requirement("ID-4")
def test_each_route_by_which_people_change_something_declares_its_act() -> None:
    changing = [
        (f"{method} {path}", route)
        for method, path, route in app_routes()
        if method in CHANGES and path.startswith(("/api/", "/ui/sessions/"))
    ]
    assert changing
    assert [name for name, route in changing if isinstance(route, APIRoute) and not _acts(route)] == []


def _acts(route: APIRoute) -> list[object]:
    return [one.call for one in route.dependant.dependencies if hasattr(one.call, ACT)]


def test_a_token_that_ends_later_is_taken_where_the_expired_one_is_not(stage: Stage) -> None:
    token = sign_again(str(stage.tokens[C.ADMIN]), stage.key_file, lives_seconds=3600)
    with stage.gateway.client(token, namespace=stage.home.namespace) as admin:
        assert admin.get(PATH).status_code == 200


def make_fresh(stage: Stage, row: Row, caller: Caller) -> str:
    """Create a session for one cell, that the gateway knows; return its name."""
    name = f"fresh-{ROWS.index(row)}-{caller.name.lower().replace('_', '-')}"
    create_session(stage.home, name, owner=stage.owner, conversation={"open": True})
    with stage.client(C.ADMIN) as admin:
        eventually(lambda: admin.get(f"{PATH}/{name}").is_success, f"{name} is known")
    return name


@pytest.mark.parametrize("caller", Caller, ids=str)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row}{'?' if row.query else ''}")
def test_route_answers_as_tabled(stage: Stage, row: Row, caller: Caller) -> None:
    session = make_fresh(stage, row, caller) if row.fresh else "mine"
    path = row.path.format(session=session, ns=stage.home.namespace, **row.params)
    query = {name: value.format(namespace=stage.home.namespace) for name, value in row.query.items()}
    want = row.cells[caller] or row.ok
    method, headers = ("GET", UPGRADE) if row.method == "WS" else (row.method, {})
    if row.form is not None:
        headers = OWN_PAGE
    with (
        stage.client(caller) as client,
        client.stream(method, path, params=query, json=row.body, data=row.form, headers=headers) as response,
    ):
        if response.is_error:
            response.read()
        assert response.status_code == want, response.text if response.is_error else response
        if row.cells[caller] is not IN:
            code = {401: "unauthenticated", 403: "forbidden", 425: "not_fenced"}[want]
            if path.startswith("/ui/"):
                assert f"{want} {code}" in response.text
            else:
                assert response.json()["code"] == code


def test_a_pod_reads_and_writes_its_own_session_alone(stage: Stage) -> None:
    with stage.client(C.OWN_POD) as own, stage.client(C.OTHER_POD) as other, stage.client(C.ADMIN) as admin:
        assert "Goal of mine." in own.get("/runner/v1/turn").text
        assert "Goal of theirs." in other.get("/runner/v1/turn").text
        before = admin.get(f"{PATH}/mine/verify").json()["head"]
        failed = {"k": 1, "outcome": "error", "error": {"code": "model_error", "message": "broken"}}
        assert other.post("/runner/v1/turn/commit", json=failed).status_code in {200, 204}
        assert admin.get(f"{PATH}/mine/verify").json()["head"] == before
        assert "Goal of mine." in own.get("/runner/v1/turn").text
