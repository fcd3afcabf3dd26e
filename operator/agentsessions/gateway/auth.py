"""Who asks, and whether they may. Two kinds of callers that never mix.

*People and programs* bring a bearer token that the API server takes for itself (TokenReview without audience); what
they may do is Kubernetes RBAC (SubjectAccessReview). *Pods* bring a projected token with our audience, which the API
server refuses for itself: its pod uid, looked up in the fence table, says for which session and agent it may speak.
Answers are remembered for `REMEMBERED_SECONDS` at most, so a withdrawn right or a deleted token lives that long.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import Request
from fastapi.requests import HTTPConnection

from agentsessions.api.names import GROUP, MANAGER, TOKEN_AUDIENCE
from agentsessions.api.reasons import Phase, RefusalCode
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.wire import AGENT_HEADER
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError
from agentsessions.engine.resources import Resource
from agentsessions.gateway.cache import ExpiringCache
from agentsessions.gateway.metrics import REMEMBERED_REVIEWS, REVIEW_SECONDS, REVIEWS, Review, ReviewResult
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError, unavailable
from agentsessions.gateway.requests import name_session
from agentsessions.journal.rows import PodIdentity
from agentsessions.lifecycle.facts import SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.teams import team_of

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway

REMEMBERED_SECONDS: Final = 10.0
REFUSAL_REMEMBERED_SECONDS: Final = 1.0
"""Short: a token may become valid, and a binding be made, a moment after the first try."""
MAX_TOKEN_BYTES: Final = 16_384
POD_UID_EXTRA: Final = "authentication.kubernetes.io/pod-uid"
SESSIONS: Final = "agentsessions"
"""The resource that rights are asked for; virtual subresources are `agentsessions/messages` and such."""
EVENTS: Final = f"{SESSIONS}/events"

TOKEN_REVIEWS: Final = Resource("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)


@dataclass(frozen=True, slots=True)
class User:
    """A caller as the API server knows them."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def pod_uid(self) -> str | None:
        """UID of the pod that the token is bound to, if it is."""
        return next((values[0] for key, values in self.extra if key == POD_UID_EXTRA and values), None)


@dataclass(frozen=True, slots=True)
class Access:
    """An act on sessions that needs a right. No namespace means all of them, no name each one."""

    verb: str
    resource: str
    namespace: str = ""
    name: str = ""

    def __str__(self) -> str:
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        return f"{self.verb} {self.resource}.{GROUP}{f' {self.name!r}' if self.name else ''} {where}"


class Auth:
    """Asks the API server who a caller is and what they may, and remembers the answers for seconds."""

    def __init__(self, client: Client, *, namespace: str) -> None:
        """Use `client` for reviews; the operator's service account lives in `namespace`."""
        self._client = client
        self._operator = f"system:serviceaccount:{namespace}:{MANAGER}"
        self._users: ExpiringCache[tuple[str, str], User | None] = ExpiringCache(
            _lifetime, on_remembered=REMEMBERED_REVIEWS.labels(Review.IDENTITY).inc
        )
        self._access: ExpiringCache[tuple[User, Access], bool] = ExpiringCache(
            _lifetime, on_remembered=REMEMBERED_REVIEWS.labels(Review.ACCESS).inc
        )

    async def user(self, request: HTTPConnection) -> User:
        """Return the person or program that asks.

        Raises:
            ProblemError: 401 without a token that the API server takes; 503 while it cannot be asked.
        """
        user = await self._review(bearer_token(request), "")
        if user is None:
            raise unauthenticated(
                "The bearer token is not one that the Kubernetes API server accepts: it is expired, of another "
                "cluster, or made for another audience. Send a fresh one, for example of `kubectl create token`."
            )
        return user

    async def is_allowed(self, user: User, access: Access) -> bool:
        """Return whether `user` has the right to `access`."""
        return await self._access.get((user, access), lambda: self._ask_access(user, access))

    async def may_go_on(self, request: HTTPConnection, access: Access) -> bool:
        """Return whether the caller of a long answer is still known and still has the right.

        While the API server cannot be asked, what was allowed goes on.
        """
        try:
            return await self.is_allowed(await self.user(request), access)
        except ProblemError as problem:
            return not problem.is_final

    async def require(self, user: User, verb: str, resource: str, namespace: str, name: str = "") -> None:
        """Refuse what `user` has no right to.

        Args:
            user: Who asks.
            verb: RBAC verb.
            resource: `agentsessions`, or with a virtual subresource `agentsessions/messages`.
            namespace: Namespace of the session; empty for all.
            name: Name of the session; empty for each one.

        Raises:
            ProblemError: 403 that names the missing right; 503 while the API server cannot be asked.
        """
        access = Access(verb, resource, namespace, name)
        if not await self.is_allowed(user, access):
            kind = "Role and RoleBinding" if namespace else "ClusterRole and ClusterRoleBinding"
            raise ProblemError(
                ProblemCode.FORBIDDEN,
                f"User {user.name!r} may not {access}. An administrator can allow it with a {kind} that grants verb "
                f"{verb!r} on resource {resource!r} of API group {GROUP!r}.",
            )

    async def pod_uid(self, request: Request) -> str:
        """Return the uid of the pod whose projected token the request carries.

        Raises:
            ProblemError: 401 without such a token; 503 while the API server cannot be asked.
        """
        caller = await self._review(bearer_token(request), TOKEN_AUDIENCE)
        uid = None if caller is None else caller.pod_uid
        if uid is None:
            raise unauthenticated(
                f"This route takes only a token with audience {TOKEN_AUDIENCE!r} that is projected into a pod, and "
                "only as long as that pod exists. The runner reads it anew from its file for each request."
            )
        return uid

    async def require_operator(self, request: Request) -> None:
        """Refuse all callers but the operator's own service account.

        Raises:
            ProblemError: 401 or 403; 503 while the API server cannot be asked.
        """
        caller = await self._review(bearer_token(request), TOKEN_AUDIENCE)
        if caller is None:
            raise unauthenticated(f"This route takes only the operator's token with audience {TOKEN_AUDIENCE!r}.")
        if caller.name != self._operator:
            detail = f"User {caller.name!r} may not read levels; only {self._operator!r} may."
            raise ProblemError(ProblemCode.FORBIDDEN, detail)

    async def _review(self, token: str, audience: str) -> User | None:
        key = (hashlib.sha256(token.encode()).hexdigest(), audience)
        return await self._users.get(key, lambda: self._ask_user(token, audience))

    async def _ask_user(self, token: str, audience: str) -> User | None:
        spec: dict[str, Any] = {"token": token} | ({"audiences": [audience]} if audience else {})
        status = await self._ask(TOKEN_REVIEWS, spec)
        # A server that knows nothing of audiences leaves them out: its yes is then about another audience.
        if not status.get("authenticated") or (audience and audience not in status.get("audiences", ())):
            return None
        return _to_user(status["user"])

    async def _ask_access(self, user: User, access: Access) -> bool:
        resource, _, subresource = access.resource.partition("/")
        attributes = {
            "group": GROUP,
            "resource": resource,
            "subresource": subresource,
            "verb": access.verb,
            "namespace": access.namespace,
            "name": access.name,
        }
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra},
            "resourceAttributes": {key: value for key, value in attributes.items() if value},
        }
        return bool((await self._ask(ACCESS_REVIEWS, spec)).get("allowed"))

    async def _ask(self, resource: Resource, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "spec": spec}
        review = Review.IDENTITY if resource is TOKEN_REVIEWS else Review.ACCESS
        try:
            with REVIEW_SECONDS.labels(review).time():
                answer = await self._client.create(resource, None, body)
        except ApiError as error:
            REVIEWS.labels(review, ReviewResult.FAILED).inc()
            if not error.is_passing:
                raise
            raise unavailable(f"The API server cannot be asked who you are: {error}. Try again.") from error
        status: dict[str, Any] = answer.get("status", {})
        is_yes = status.get("authenticated") or status.get("allowed")
        REVIEWS.labels(review, ReviewResult.YES if is_yes else ReviewResult.NO).inc()
        return status


def bearer_token(request: HTTPConnection) -> str:
    """Return the request's bearer token.

    Raises:
        ProblemError: 401 when there is none.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN_BYTES:
        raise unauthenticated("The request carries no bearer token. Send `Authorization: Bearer <token>`.")
    return token


def unauthenticated(detail: str) -> ProblemError:
    """Return the problem of a caller who is not known."""
    return ProblemError(ProblemCode.UNAUTHENTICATED, detail, headers={"WWW-Authenticate": "Bearer"})


def _to_user(found: Mapping[str, Any]) -> User:
    extra = {key: tuple(values) for key, values in (found.get("extra") or {}).items()}
    return User(
        name=found.get("username", ""),
        uid=found.get("uid", ""),
        groups=tuple(found.get("groups") or ()),
        extra=tuple(sorted(extra.items())),
    )


def _lifetime(answer: object) -> float:
    return REMEMBERED_SECONDS if answer else REFUSAL_REMEMBERED_SECONDS


async def current_pod(request: Request) -> PodIdentity:
    """Return for whom the asking pod may speak now (a FastAPI dependency of runner routes).

    Whether that still holds is checked again in the transaction of each write.

    Raises:
        ProblemError: 401 without a pod's token, 403 for an agent that does not share it, 425 before the pod stands in
            the session's status, 412 when another pod took its place or the session is over, 503 while the gateway
            starts.
    """
    gateway: Gateway = request.state.gateway
    uid = await gateway.auth.pod_uid(request)
    pod = await gateway.store.identify_pod(uid)
    if pod is not None:
        name_session(pod.session_uid)
    if pod is None:
        raise ProblemError(
            RefusalCode.NOT_FENCED,
            f"Pod {uid} stands in no session's status yet. The operator writes it there right after it created the "
            "pod; ask again in a second.",
            headers={"Retry-After": "1"},
        )
    if not pod.is_current:
        raise stale_epoch(pod)
    if not gateway.watch.is_ready.is_set():
        raise unavailable("The gateway has just started and does not know all sessions yet. Try again.")
    session = gateway.session(pod.session_uid)
    if session is None and gateway.store.is_shared:
        await _refuse_unseen(gateway, pod)
    refuse_ended(pod, session)
    asked = request.headers.get(AGENT_HEADER)
    return pod if asked in {None, pod.agent} else _play_for(gateway, pod, str(asked))


def _play_for(gateway: "Gateway", pod: PodIdentity, agent: str) -> PodIdentity:
    """Return the pod as another of the agents that share it, and as no other."""
    session = gateway.watch.sessions.get(pod.session_uid)
    merged = None if session is None else gateway.watch.merger.find(session)
    if merged is None:
        raise unavailable(f"The template of session {pod.namespace}/{pod.name} is not read yet. Try again.")
    team = team_of(merged.spec)
    if team is None or team.host_of(agent) != pod.host:
        sharing = ", ".join(team.group_of(pod.host)) if team else pod.host
        raise ProblemError(
            RefusalCode.OTHER_AGENT,
            f"Pod {pod.pod_uid} of session {pod.namespace}/{pod.name} plays {sharing}, and not agent {agent[:64]!r}.",
        )
    return pod.playing(agent)


async def _refuse_unseen(gateway: "Gateway", pod: PodIdentity) -> None:
    """Send a pod away for a moment whose session another gateway has seen, and this one has not yet."""
    row = await gateway.store.get_session_by_uid(pod.session_uid)
    if row is not None and row.deleted_at is None:
        raise unavailable(f"This gateway does not know session {pod.namespace}/{pod.name} yet. Try again.")


def stale_epoch(pod: PodIdentity) -> ProblemError:
    """Return the problem of a pod whose place another one took."""
    return ProblemError(
        RefusalCode.STALE_EPOCH,
        f"Epoch {pod.epoch} of agent {pod.agent!r} of session {pod.namespace}/{pod.name} is over: another pod plays "
        "the agent now. This pod must end.",
    )


def refuse_ended(pod: PodIdentity, session: SessionView | None) -> None:
    """Refuse a pod whose session is over.

    Raises:
        ProblemError: 412.
    """
    where = f"{pod.namespace}/{pod.name}"
    if session is None or session.is_deleting:
        detail = f"Session {where} was deleted. This pod must end."
        raise ProblemError(RefusalCode.SESSION_FINISHED, detail)
    phase = session.status.phase
    if phase in {Phase.CANCELLING, Phase.CANCELLED} or session.spec.operating_mode is OperatingMode.CANCELLED:
        detail = f"Session {where} is cancelled. This pod must end."
        raise ProblemError(RefusalCode.SESSION_CANCELLED, detail)
    if phase in TERMINAL:
        detail = f"Session {where} is {phase}, which is final. This pod must end."
        raise ProblemError(RefusalCode.SESSION_FINISHED, detail)
