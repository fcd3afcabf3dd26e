"""Whether the sessions of a namespace are as their specs want them."""

from contextlib import suppress
from datetime import UTC, datetime

from tests.e2e.faults import until
from tests.e2e.product import GROUP, VERSION, Json, Product
from tests.invariants import check_deadline, check_settled


def begun_sessions(product: Product, namespace: str) -> list[Json]:
    """Return the sessions of a namespace that are past Pending."""
    listed = product.custom.list_namespaced_custom_object(GROUP, VERSION, namespace, "agentsessions")
    return [s for s in listed["items"] if s.get("status", {}).get("phase") not in {None, "Pending"}]


def unsettled(product: Product, namespace: str) -> list[str]:
    """Return what is not as specs want it after 60 s (I7), and phases past their deadline (I8)."""
    found: list[str] = []

    def is_settled() -> bool:
        found[:] = []
        for session in begun_sessions(product, namespace):
            pods = product.session_pods(namespace, session["metadata"]["uid"])
            problems = [*check_settled(session, pods), *check_deadline(session, datetime.now(UTC))]
            found.extend(f"{session['metadata']['name']}: {problem}" for problem in problems)
        return not found

    with suppress(AssertionError):
        until(is_settled, "sessions are settled")
    return found
