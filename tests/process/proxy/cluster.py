"""Stands for the Kubernetes API server: lists, watches, Secrets and reviews, over real HTTP.

A pod's token is `pod-<uid>`, a person's `user-<name>`; `stranger` may do nothing, `disowned` all but own,
others everything. Objects are given and taken with `put` and `remove`; watches hear of it.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from agentsessions.api.names import API_VERSION, TOKEN_AUDIENCE
from agentsessions.engine.credentials import ClusterAccess

GROUP_PATH = "/apis/agentsessions.dev/v1alpha1"
KINDS = ("modelproviders", "toolservers", "agentsessions", "agentpolicies", "sessionapprovals", "sessionwebhooks")
WITH_STATUS = ("toolservers", "sessionwebhooks")
"""Kinds whose status gateways write."""


class Cluster:
    """Objects by collection and key, and the watches on them."""

    def __init__(self) -> None:
        self.url = ""
        self.secret_reads = 0
        self.may_read_secrets = asyncio.Event()
        """Reads of Secrets wait for it."""
        self.may_read_secrets.set()
        self._version = 1
        self._objects: dict[str, dict[tuple[str, str], Any]] = {"namespaces": {}, **{kind: {} for kind in KINDS}}
        self._secrets: dict[tuple[str, str], dict[str, str]] = {}
        self.revisions: dict[tuple[str, str], dict[str, Any]] = {}
        """ControllerRevisions by namespace and name."""
        self.events: list[dict[str, Any]] = []
        """Kubernetes Events that were sent."""
        self._watches: dict[str, set[asyncio.Queue[dict[str, Any] | None]]] = {kind: set() for kind in self._objects}

    def access(self) -> ClusterAccess:
        return ClusterAccess(server=self.url, ssl=False, token=lambda: "gateway")

    def put(self, kind: str, namespace: str, name: str, *, owner: str = "", generation: int = 1, **parts: Any) -> None:
        """Create or replace an object; one with an owner belongs to the session of that name."""
        self._version += 1
        known = self._objects[kind].get((namespace, name))
        metadata: dict[str, Any] = {
            "namespace": namespace,
            "name": name,
            "uid": f"uid-{namespace}-{name}",
            "generation": generation,
            "creationTimestamp": "2026-11-21T12:00:00Z",
            "resourceVersion": str(self._version),
        }
        if owner:
            uid = f"uid-{namespace}-{owner}"
            reference = {"apiVersion": API_VERSION, "kind": "AgentSession", "name": owner, "uid": uid}
            metadata["ownerReferences"] = [reference | {"controller": True}]
        self._objects[kind][namespace, name] = {"metadata": metadata, **parts}
        self._tell(kind, "MODIFIED" if known else "ADDED", self._objects[kind][namespace, name])

    def find(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        """Return an object as it is now."""
        found: dict[str, Any] = self._objects[kind][namespace, name]
        return found

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object."""
        self._version += 1
        gone = self._objects[kind].pop((namespace, name))
        gone["metadata"]["resourceVersion"] = str(self._version)
        self._tell(kind, "DELETED", gone)

    def put_secret(self, namespace: str, name: str, **data: str) -> None:
        """Create or replace a Secret."""
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self._secrets[namespace, name] = encoded

    def _tell(self, kind: str, type_: str, found: dict[str, Any]) -> None:
        for queue in self._watches[kind]:
            queue.put_nowait({"type": type_, "object": found})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        kind = request.path.rsplit("/", 1)[-1]
        if request.query.get("watch") == "true":
            return await self._watch(request, kind)
        items = list(self._objects[kind].values())
        return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": items})

    async def _watch(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        since = int(request.query["resourceVersion"])
        for found in self._objects[kind].values():
            if int(found["metadata"]["resourceVersion"]) > since:
                queue.put_nowait({"type": "ADDED", "object": found})
        self._watches[kind].add(queue)
        try:
            while (event := await queue.get()) is not None:
                await response.write(json.dumps(event).encode() + b"\n")
        finally:
            self._watches[kind].discard(queue)
        return response

    async def _patch_status(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        where = request.match_info["namespace"], request.match_info["name"]
        body, found = await request.json(), self._objects[kind][where]
        if body["metadata"]["resourceVersion"] != found["metadata"]["resourceVersion"]:
            return web.json_response({"reason": "Conflict", "message": "it has changed"}, status=409)
        status = {key: value for key, value in body["status"].items() if value is not None}
        self.put(kind, *where, generation=found["metadata"]["generation"], spec=found["spec"], status=status)
        return web.json_response(self._objects[kind][where])

    async def _event(self, request: web.Request) -> web.Response:
        self.events.append(await request.json())
        return web.json_response(self.events[-1], status=201)

    async def _secret(self, request: web.Request) -> web.Response:
        self.secret_reads += 1
        await self.may_read_secrets.wait()
        data = self._secrets.get((request.match_info["namespace"], request.match_info["name"]))
        if data is None:
            return web.json_response({"reason": "NotFound", "message": "not found"}, status=404)
        return web.json_response({"data": data})

    async def _revision(self, request: web.Request) -> web.Response:
        found = self.revisions.get((request.match_info["namespace"], request.match_info["name"]))
        if found is None:
            return web.json_response({"reason": "NotFound", "message": "not found"}, status=404)
        return web.json_response(found)

    async def _review(self, request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]
        if spec["token"].startswith("user-") and not spec.get("audiences"):
            user = {"username": spec["token"].removeprefix("user-")}
            return web.json_response({"status": {"authenticated": True, "user": user}})
        if not spec["token"].startswith("pod-") or TOKEN_AUDIENCE not in spec.get("audiences", ()):
            return web.json_response({"status": {"authenticated": False}})
        extra = {"authentication.kubernetes.io/pod-uid": [spec["token"].removeprefix("pod-")]}
        user = {"username": "system:serviceaccount:team:agentsessions-runner", "extra": extra}
        return web.json_response({"status": {"authenticated": True, "audiences": [TOKEN_AUDIENCE], "user": user}})

    async def _access(self, request: web.Request) -> web.Response:
        spec = (await request.json())["spec"]
        is_own = spec["resourceAttributes"]["verb"] == "own"
        is_allowed = spec["user"] != "stranger" and not (is_own and spec["user"] == "disowned")
        return web.json_response({"status": {"allowed": is_allowed}})

    def _end_watches(self) -> None:
        for queues in self._watches.values():
            for queue in queues:
                queue.put_nowait(None)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Cluster"]:
        """Listen on loopback."""
        app = web.Application()
        for kind in KINDS:
            app.router.add_get(f"{GROUP_PATH}/{kind}", self._list)
        kinds = f"{{kind:{'|'.join(WITH_STATUS)}}}"
        app.router.add_patch(f"{GROUP_PATH}/namespaces/{{namespace}}/{kinds}/{{name}}/status", self._patch_status)
        app.router.add_post("/apis/events.k8s.io/v1/namespaces/{namespace}/events", self._event)
        app.router.add_get("/api/v1/namespaces", self._list)
        app.router.add_get("/api/v1/namespaces/{namespace}/secrets/{name}", self._secret)
        app.router.add_get("/apis/apps/v1/namespaces/{namespace}/controllerrevisions/{name}", self._revision)
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._review)
        app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", self._access)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self._end_watches()
            await runner.cleanup()
