"""Where models are: the ModelProviders of all namespaces, and their keys.

A session's provider is looked up in its own namespace first, then among the shared ones of the install namespace.
Keys are read when they are needed, held for seconds, and never written anywhere.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pydantic import ValidationError

from agentsessions.api.names import GROUP, VERSION
from agentsessions.api.reasons import ErrorCode
from agentsessions.api.v1alpha1.provider import ModelProviderSpec, SecretKeyRef
from agentsessions.api.v1alpha1.script import Script
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError, NotFound
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import SECRET, Resource, resource_path
from agentsessions.gateway.cache import ExpiringCache
from agentsessions.gateway.proxy.faults import ModelFault

log = structlog.get_logger(__name__)

MODEL_PROVIDER: Final = Resource(GROUP, VERSION, "modelproviders", "ModelProvider")
KEY_SECONDS: Final = 10.0
KEY_ROLE: Final = "agentsessions-provider-keys"
"""ClusterRole of the chart that lets the gateway read keys, where a namespace binds it."""
"""A rotated key is used that soon."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A ModelProvider as the API server last showed it."""

    namespace: str
    name: str
    spec: ModelProviderSpec


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A ModelProvider that this version cannot read. Another one of its name must not serve in its place."""

    namespace: str
    name: str


class ProviderDirectory:
    """All providers, kept current by a watch."""

    def __init__(self, client: Client, *, install_namespace: str) -> None:
        """Watch through `client`; shared providers live in `install_namespace`."""
        self._install_namespace = install_namespace
        self.informer: Final[Informer[Provider | Unreadable]] = Informer(
            client, MODEL_PROVIDER, convert=to_provider, key_of=_key_of, on_change=_ignore
        )

    def find(self, namespace: str, name: str) -> Provider | None:
        """Return the provider that sessions of `namespace` mean by `name`."""
        own = self.informer.get(f"{namespace}/{name}")
        if own is not None:
            return own if isinstance(own, Provider) else None
        shared = self.informer.get(f"{self._install_namespace}/{name}")
        return shared if isinstance(shared, Provider) and shared.spec.shared else None

    def script(self, namespace: str, name: str) -> Script | None:
        """Return the script of exactly this provider."""
        provider = self.informer.get(f"{namespace}/{name}")
        return provider.spec.script if isinstance(provider, Provider) else None


class KeyReader:
    """Reads keys from Secrets in the namespace of what names them."""

    def __init__(self, client: Client, what: str = "The provider's API key") -> None:
        self._client = client
        self._what = what
        self._keys: ExpiringCache[tuple[str, str, str], str] = ExpiringCache(lambda _: KEY_SECONDS)

    async def key(self, provider: Provider) -> str | None:
        """Return the provider's key; None when it needs none.

        Raises:
            ModelFault: The Secret or its key is not there, or may not be read.
        """
        ref = provider.spec.api_key_secret_ref
        if ref is None:
            return None
        return await self.value(provider.namespace, ref)

    async def value(self, namespace: str, ref: SecretKeyRef) -> str:
        """Return the value of a Secret's key.

        Raises:
            ModelFault: The Secret or its key is not there, or may not be read.
        """
        where = (namespace, ref.name, ref.key)
        return await self._keys.get(where, lambda: self._read(namespace, ref))

    async def _read(self, namespace: str, ref: SecretKeyRef) -> str:
        try:
            secret = await self._client.get(resource_path(SECRET, namespace, ref.name))
        except NotFound as error:
            raise self._fault(namespace, ref, "the Secret does not exist; create it") from error
        except ApiError as error:
            if error.is_passing:
                message = f"The API server cannot be asked for Secret {namespace}/{ref.name}: {error}."
                raise ModelFault(ErrorCode.OVERLOADED, message, is_retried=True) from error
            # Invalid as well: a name that would lead to another path never leaves this process.
            remedy = (
                f"the gateway may not read it ({error.reason}); bind ClusterRole {KEY_ROLE} to its service account, in "
                "that namespace"
            )
            raise self._fault(namespace, ref, remedy) from error
        return self._decode(secret.get("data") or {}, namespace, ref)

    def _decode(self, data: Mapping[str, str], namespace: str, ref: SecretKeyRef) -> str:
        if ref.key not in data:
            raise self._fault(namespace, ref, f"the Secret has no key {ref.key!r}; add it")
        try:
            # Keys made by `echo` end in a newline, which no header may carry.
            key = base64.b64decode(data[ref.key], validate=True).decode("ascii").strip()
        except (binascii.Error, UnicodeDecodeError):
            key = ""
        if not key or not key.isprintable():
            raise self._fault(namespace, ref, "its value is empty or not printable ASCII; put the key there")
        return key

    def _fault(self, namespace: str, ref: SecretKeyRef, problem: str) -> ModelFault:
        message = f"{self._what} cannot be read from key {ref.key!r} of Secret {namespace}/{ref.name}: {problem}."
        return ModelFault(ErrorCode.MODEL_ERROR, message)


def to_provider(found: Mapping[str, Any]) -> Provider | Unreadable:
    """Return the view of a ModelProvider."""
    metadata = found["metadata"]
    try:
        spec = ModelProviderSpec.model_validate(found.get("spec", {}))
    except ValidationError as error:
        # Without the values: a spec may be full of a script.
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        log.warning("provider not read", namespace=metadata["namespace"], name=metadata["name"], problems=problems)
        return Unreadable(metadata["namespace"], metadata["name"])
    return Provider(metadata["namespace"], metadata["name"], spec)


def _key_of(provider: Provider | Unreadable) -> str:
    return f"{provider.namespace}/{provider.name}"


def _ignore(old: Provider | Unreadable | None, new: Provider | Unreadable | None) -> None:
    """Do nothing: the directory is asked when a model is."""
    del old, new
