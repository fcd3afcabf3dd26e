"""Clients of plain HTTP: those that know whom to trust have read the certificates of all authorities, for 30 ms."""

from typing import Any

import httpx2


def open_plain(base_url: str = "", **options: Any) -> httpx2.AsyncClient:
    """Return a client."""
    return httpx2.AsyncClient(base_url=base_url, trust_env=False, verify=False, **options)


def open_plain_sync(base_url: str = "", **options: Any) -> httpx2.Client:
    """Return one that is not asynchronous."""
    return httpx2.Client(base_url=base_url, trust_env=False, verify=False, **options)
