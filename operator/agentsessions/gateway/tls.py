"""Keeps the gateway's certificates in the cluster: chain and keys in a Secret, the CA for all to read in a ConfigMap.

The Secret is the only place of the keys, so a new pod of the gateway serves under the CA that agent pods hold.
"""

import asyncio
import base64
import binascii
import ssl
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from agentsessions.api.names import CA_CONFIG_MAP
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, ApiError, Conflict, NotFound
from agentsessions.engine.resources import CONFIG_MAP, SECRET, resource_path
from agentsessions.gateway.certificates import Chain, Pair, renew, service_names

log = structlog.get_logger(__name__)

SECRET_NAME: Final = "agentsessions-gateway-tls"  # noqa: S105 - the name of a Secret, not a secret
SERVICE_NAME: Final = "agentsessions-gateway"
TRIES: Final = 5
CHECK_EVERY: Final = timedelta(minutes=1)
"""How long a replica may serve under a CA that another one has replaced: as long as pods take to see the new one."""


class Certificates:
    """The certificates in force, and the TLS context that serves them."""

    def __init__(self, client: Client, namespace: str, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._served: Chain | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    async def ensure(self) -> None:
        """Make, renew or take over the chain, publish its CA, and serve it to new connections.

        Raises:
            ApiError: The API server refuses, or cannot be reached.
        """
        chain = await self._ensure_secret()
        await self._ensure_config_map(chain.ca.certificate.decode())
        if chain != self._served:
            _load(self.context, chain)
            self._served = chain

    async def keep(self) -> None:
        """Look again from time to time, for ever, so that no leaf runs out in a long-lived process."""
        while True:
            await asyncio.sleep(CHECK_EVERY.total_seconds())
            try:
                await self.ensure()
            except ApiError as error:
                log.warning("certificates not checked", error=str(error))

    async def _ensure_secret(self) -> Chain:
        names = service_names(SERVICE_NAME, self._namespace)
        for _ in range(TRIES):
            secret = await self._get_secret()
            known = _to_chain(secret) if secret else None
            chain = renew(known, names, self._clock())
            if chain == known:
                return chain
            try:
                await self._write_secret(secret, chain)
            except (AlreadyExists, Conflict):
                continue  # another replica was faster: take what it wrote
            log.info("certificates written", secret=SECRET_NAME, ca="kept" if known and known.ca == chain.ca else "new")
            return chain
        raise RuntimeError(f"Secret {self._namespace}/{SECRET_NAME} changed {TRIES} times while it was being written")

    async def _get_secret(self) -> dict[str, Any] | None:
        try:
            return await self._client.get(resource_path(SECRET, self._namespace, SECRET_NAME))
        except NotFound:
            return None

    async def _write_secret(self, found: Mapping[str, Any] | None, chain: Chain) -> None:
        body = _to_secret(chain)
        if found is None:
            await self._client.create(SECRET, self._namespace, body)
            return
        version = {"metadata": {"resourceVersion": found["metadata"]["resourceVersion"]}}
        await self._client.merge_patch(SECRET, self._namespace, SECRET_NAME, {"data": body["data"]} | version)

    async def _ensure_config_map(self, ca: str) -> None:
        try:
            found = await self._client.get(resource_path(CONFIG_MAP, self._namespace, CA_CONFIG_MAP))
        except NotFound:
            body = {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": CA_CONFIG_MAP},
                "data": {"ca.crt": ca},
            }
            try:
                await self._client.create(CONFIG_MAP, self._namespace, body)
            except AlreadyExists:  # another replica was faster: the two publish one CA, that of the Secret
                await self._client.merge_patch(CONFIG_MAP, self._namespace, CA_CONFIG_MAP, {"data": {"ca.crt": ca}})
            return
        if (found.get("data") or {}).get("ca.crt") != ca:
            await self._client.merge_patch(CONFIG_MAP, self._namespace, CA_CONFIG_MAP, {"data": {"ca.crt": ca}})


def _to_secret(chain: Chain) -> dict[str, Any]:
    content = {
        "ca.crt": chain.ca.certificate,
        "ca.key": chain.ca.key,
        "tls.crt": chain.leaf.certificate,
        "tls.key": chain.leaf.key,
    }
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": SECRET_NAME},
        "data": data,
    }


def _to_chain(secret: Mapping[str, Any]) -> Chain | None:
    """Return what a Secret holds; None when a part is missing or is not base64."""
    data = secret.get("data") or {}
    try:
        ca_crt, ca_key, crt, key = (
            base64.b64decode(data[name], validate=True) for name in ("ca.crt", "ca.key", "tls.crt", "tls.key")
        )
    except (KeyError, binascii.Error):
        return None
    return Chain(Pair(ca_crt, ca_key), Pair(crt, key))


def _load(context: ssl.SSLContext, chain: Chain) -> None:
    # The ssl module reads files only. The folder is private, and gone again at once.
    with tempfile.TemporaryDirectory(prefix="agentsessions-tls-") as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(chain.leaf.certificate)
        key.touch(mode=0o600)
        key.write_bytes(chain.leaf.key)
        context.load_cert_chain(certificate, key)
