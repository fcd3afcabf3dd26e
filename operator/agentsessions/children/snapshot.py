"""The frozen context: what a session's ConfigMaps held when it was accepted, in one immutable ConfigMap of its own.

Keys `file-0` … `file-n` follow `spec.context.files` and `data-0` … `data-n` `spec.dataSources`, which are immutable;
key `context` holds what `spec.context.configMapKeyRef` named and is read by the gateway, never mounted.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from agentsessions.api.v1alpha1.context import ConfigMapKeyRef
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.children.names import context_name
from agentsessions.children.owner import child_labels, owner_reference
from agentsessions.lifecycle.facts import SessionView

CONTEXT_KEY: Final = "context"


def wanted_content(spec: SessionSpec) -> dict[str, ConfigMapKeyRef]:
    """Return what is to be frozen: the snapshot's keys, and where the content of each comes from."""
    wanted = {data_key(number): source.config_map_key_ref for number, source in enumerate(spec.data_sources or ())}
    context = spec.context
    if context is None:
        return wanted
    wanted |= {f"file-{number}": file.config_map_key_ref for number, file in enumerate(context.files or ())}
    if context.config_map_key_ref is not None:
        wanted[CONTEXT_KEY] = context.config_map_key_ref
    return wanted


def data_key(number: int) -> str:
    """Return the snapshot's key of a data source by its place in the spec."""
    return f"data-{number}"


def field_of(spec: SessionSpec, key: str) -> str:
    """Return the field of the session that a key of the snapshot comes from, for messages."""
    files = (spec.context and spec.context.files) or []
    for number, file in enumerate(files):
        if key == f"file-{number}":
            return f"spec.context.files[{file.path}]"
    for number, source in enumerate(spec.data_sources or ()):
        if key == data_key(number):
            return f"spec.dataSources[{source.name}]"
    return "spec.context.configMapKeyRef"


def build_snapshot(session: SessionView, content: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the immutable ConfigMap that holds `content`: text where it is UTF-8, else binary."""
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    for key, value in content.items():
        try:
            data[key] = value.decode()
        except UnicodeDecodeError:
            binary[key] = base64.b64encode(value).decode()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": context_name(session.name, session.uid),
            "namespace": session.namespace,
            "labels": child_labels(session),
            "ownerReferences": [owner_reference(session)],
        },
        "immutable": True,
        **({"data": data} if data else {}),
        **({"binaryData": binary} if binary else {}),
    }


def read_key(config_map: Mapping[str, Any], key: str) -> bytes | None:
    """Return the content under a ConfigMap's key, whichever way it is stored."""
    text = (config_map.get("data") or {}).get(key)
    if text is not None:
        return str(text).encode()
    binary = (config_map.get("binaryData") or {}).get(key)
    return None if binary is None else base64.b64decode(binary)


def content_digest(content: Mapping[str, bytes]) -> str:
    """Return the SHA-256 (hex) of frozen content; empty when there is none."""
    if not content:
        return ""
    digests = {key: hashlib.sha256(value).hexdigest() for key, value in content.items()}
    return hashlib.sha256(json.dumps(digests, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
