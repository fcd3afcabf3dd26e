"""A session that nothing disturbs: from a five-line manifest to its result."""

import csv
import io
from collections import Counter, defaultdict

import pytest

from tests.e2e.product import PATIENCE, SAMPLES, Product
from tests.e2e.provider import CountingProvider, say

pytestmark = pytest.mark.e2e

SALES = SAMPLES / "sales"


def worst_products(text: str) -> list[str]:
    """Return the three products that lost most revenue, computed here and not by an agent."""
    change: defaultdict[str, float] = defaultdict(float)
    for row in csv.DictReader(io.StringIO(text)):
        sign = 1 if row["date"].startswith("2026-10") else -1
        change[row["product"]] += sign * int(row["units"]) * float(row["unit_price"])
    return sorted(change, key=lambda product: change[product])[:3]


def run_sales(product: Product, namespace: str, text: str) -> str:
    """Run the sales sample over `text` and return its result."""
    data = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sales"}, "data": {"sales.csv": text}}
    product.apply(namespace, data, SALES / "provider.yaml", SALES / "session.yaml")
    done = product.wait_phase(namespace, "sales-analysis", "Completed")
    result: str = done["status"]["result"]
    return result


@pytest.mark.requirement("OBJ-1")
def test_five_line_manifest_completes_in_any_namespace(product: Product, namespace: str) -> None:
    product.apply(namespace, SAMPLES / "minimal.yaml")
    waited = product.kubectl(
        "wait", "-n", namespace, "--for=condition=Complete", "agentsession/hello", PATIENCE, check=False
    )
    assert waited.returncode == 0, waited.stderr
    status = product.session(namespace, "hello")["status"]
    assert (status["phase"], status["stopReason"]) == ("Completed", "GoalReached")
    assert status["result"]


@pytest.mark.requirement("OBJ-6")
@pytest.mark.requirement("AG-2")
def test_sales_session_reports_what_the_data_says(product: Product, namespace: str) -> None:
    text = (SALES / "sales.csv").read_text()
    result = run_sales(product, namespace, text)
    for place, name in enumerate(worst_products(text), 1):
        assert f"{place}. {name}: -" in result
    assert "gave -" in result


@pytest.mark.requirement("OBJ-6")
def test_changed_row_changes_the_result(product: Product, namespace: str) -> None:
    text = (SALES / "sales.csv").read_text()
    row = next(line for line in text.splitlines() if line.startswith("2026-09") and ",Seed Mix," in line)
    changed = text.replace(row, ",".join([*row.split(",")[:3], "9000", "6.50"]))
    result = run_sales(product, namespace, changed)
    assert worst_products(changed) != worst_products(text)
    assert "1. Seed Mix: -" in result


@pytest.mark.requirement("STEP-1")
@pytest.mark.requirement("STEP-3")
def test_steps_tell_kind_input_output_duration_and_tokens(product: Product, namespace: str) -> None:
    run_sales(product, namespace, (SALES / "sales.csv").read_text())
    with product.gateway() as gateway:
        steps = gateway.get("/sales-analysis/steps", namespace=namespace)["items"]
    kinds = Counter(step["type"] for step in steps)
    assert kinds == {"thinking": 3, "tool_call": 3, "tool_result": 3, "output": 1}
    assert {step["number"] for step in steps} == {1, 2, 3, 4}
    results = [step for step in steps if step["type"] == "tool_result"]
    assert any("sales.csv" in step["output"] for step in results)
    assert all(step["durationMilliseconds"] >= 0 for step in results)


@pytest.mark.requirement("OPS-4")
def test_ordinary_session_costs_four_writes_and_three_events(product: Product, namespace: str, host: str) -> None:
    # The first session of a namespace also makes the namespace's own objects: they are not the session's.
    product.create_session(namespace, "first", goal="Say hello.")
    product.wait_phase(namespace, "first", "Completed")
    with CountingProvider(host, [say("Hello.")]).serve() as provider:
        answer = provider.hold(1)
        product.create_provider(namespace, "held", provider.spec)
        held = {"name": "agent", "model": {"providerRef": {"name": "held"}}}
        product.create_session(namespace, "second", goal="Say hello.", agents=[held])
        product.wait_phase(namespace, "second", "Running")  # a quicker one is over before its pod is seen to run
        answer.opened.set()
        product.wait_phase(namespace, "second", "Completed")
    writes = product.writes_of_life(namespace, "second")
    told = [(w["verb"], w["objectRef"]["resource"], w["objectRef"].get("subresource", "")) for w in writes]
    assert told == [("create", "pods", ""), *[("patch", "agentsessions", "status")] * 3]
    assert all(w["responseStatus"]["code"] < 300 for w in writes)
    events = product.await_events(namespace, "second", lambda found: len(found) >= 3)
    assert Counter(event.reason for event in events) == {"Starting": 1, "Running": 1, "Completed": 1}


@pytest.mark.requirement("OBJ-7")
def test_ten_sessions_at_once_complete(product: Product, namespace: str) -> None:
    names = [f"many-{number}" for number in range(10)]
    for name in names:
        product.create_session(namespace, name, goal=f"Greet {name}.")
    for name in names:
        product.wait_phase(namespace, name, "Completed")
