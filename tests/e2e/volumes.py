"""Volumes of agents, as the node sees them: it is this machine."""

from __future__ import annotations

from pathlib import Path

from agentsessions.api.names import LABEL_AGENT, LABEL_SESSION
from tests.e2e.product import Product


def workspace_of(product: Product, namespace: str, session: str, agent: str) -> Path | None:
    """Return the folder of an agent's workspace; None as long as its claim is not bound."""
    selector = f"{LABEL_SESSION}={session},{LABEL_AGENT}={agent}"
    claims = product.core.list_namespaced_persistent_volume_claim(namespace, label_selector=selector).items
    bound = [claim.spec.volume_name for claim in claims if claim.status.phase == "Bound"]
    if not bound:
        return None
    volume = product.core.read_persistent_volume(bound[0]).spec
    return Path((volume.local or volume.host_path).path)


def lines_of(product: Product, namespace: str, session: str, agent: str, name: str) -> list[str]:
    """Return the lines of a file in an agent's workspace; none where there is no such file."""
    folder = workspace_of(product, namespace, session, agent)
    if folder is None or not (folder / name).exists():
        return []
    return (folder / name).read_text().splitlines()
