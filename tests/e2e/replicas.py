"""Two operators or two gateways of one installation, and the history of the Lease between operators."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.product import ROOT, SYSTEM, Product, cluster_says

OPERATOR = "agentsessions-operator"
RELEASE = "agentsessions"
PATIENCE_SECONDS = 60
SECRET = "test-journal"
NETWORKS = ("allowedProviderNetworks", "allowedToolNetworks", "allowedWebhookNetworks", "http.allowedNetworks")


@dataclass
class LeaseHistory:
    """Who held the Lease from when on, by this machine's monotonic clock."""

    changes: list[tuple[float, str]] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    @property
    def holder(self) -> str:
        """Who holds it now; empty when nobody does."""
        return self.changes[-1][1] if self.changes else ""

    @property
    def leader(self) -> str:
        """Name of the pod that holds it now."""
        return self.holder.partition("_")[0]

    def note(self, holder: str) -> None:
        """Take one event of the watch."""
        with self._news:
            if not self.changes or holder != self.holder:
                self.changes.append((time.monotonic(), holder))
                self._news.notify_all()

    def await_other(self, than: str) -> float:
        """Wait until another one than `than` holds the Lease; return when it took it."""
        with self._news:
            if not self._news.wait_for(lambda: self.holder not in {"", than}, PATIENCE_SECONDS):
                raise AssertionError(f"nobody took the Lease from {than} in {PATIENCE_SECONDS} s: {self.changes}")
        return self.changes[-1][0]


@contextmanager
def lease_history(product: Product) -> Iterator[LeaseHistory]:
    """Follow the Lease while the block runs."""
    history = LeaseHistory()
    holder = ["-o", r'jsonpath={.spec.holderIdentity}{"\n"}']
    command = [product.kubectl_program, "--kubeconfig", product.kubeconfig, "get", "leases", "--watch", *holder]
    command += ["-n", SYSTEM, "--field-selector", f"metadata.name={OPERATOR}"]
    with subprocess.Popen(command, text=True, stdout=subprocess.PIPE) as process:

        def follow() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                history.note(line.strip())

        thread = threading.Thread(target=follow)
        thread.start()
        try:
            yield history
        finally:
            process.terminate()
            thread.join()


@contextmanager
def two_replicas(product: Product) -> Iterator[None]:
    """Give the installation a second operator while the block runs, as `helm upgrade` does."""
    with upgraded(product, {"operator.replicas": "2"}):
        yield


@contextmanager
def two_gateways(product: Product, journal_url: str) -> Iterator[None]:
    """Give the installation a second gateway, and the journal a PostgreSQL database, while the block runs."""
    with (
        a_secret(product, SECRET, url=journal_url),
        upgraded(product, {"gateway.replicas": "2", "gateway.journal.urlSecretRef.name": SECRET}),
    ):
        yield


@contextmanager
def a_secret(product: Product, name: str, **content: str) -> Iterator[None]:
    """Have a Secret beside the installation while the block runs."""
    product.apply(
        SYSTEM, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(content)}
    )
    try:
        yield
    finally:
        product.kubectl("delete", "secret", "-n", SYSTEM, name)


@contextmanager
def upgraded(product: Product, values: Mapping[str, str]) -> Iterator[None]:
    """Give the installation other values while the block runs, as `helm upgrade` does."""
    try:
        upgrade(product, {})  # Helm takes away only what it knows to have given
        upgrade(product, values)
        yield
    finally:
        upgrade(product, {})
        # The installation was not Helm's before, and is not now.
        product.kubectl("delete", "secret", "-n", SYSTEM, "-l", f"owner=helm,name={RELEASE}")


def upgrade(product: Product, changed: Mapping[str, str]) -> None:
    """Upgrade the installation, with the image that it has, and wait until all of it is ready."""
    _install(product, {**_values_of(product), **changed})


def install_anew(product: Product) -> None:
    """Remove the installation, which is Helm's, as it is, and install it once more."""
    values = _values_of(product)
    _helm(product, "uninstall", RELEASE, "--wait")
    _install(product, values)


def roll_back(product: Product) -> None:
    """Go back to what was installed before the last upgrade, and wait until all of it is ready."""
    _helm(product, "rollback", RELEASE)
    _await_ready(product)


def _values_of(product: Product) -> dict[str, str]:
    """Return the values of an installation with one replica of each."""
    image = product.apps.read_namespaced_deployment(OPERATOR, SYSTEM).spec.template.spec.containers[0].image
    repository, _, tag = image.rpartition(":")
    return {
        "image.repository": repository,
        "image.tag": tag,
        # As `hack/product` installs it: what the tests serve is on this machine.
        **{f"gateway.{networks}[0]": f"{product.machine}/32" for networks in NETWORKS},
    }


def _install(product: Product, values: Mapping[str, str]) -> None:
    settings = [
        word
        for name, value in values.items()
        for word in ("--set-string" if "image" in name else "--set", f"{name}={value}")
    ]
    chart = str(ROOT / "helm" / "agentsessions")
    _helm(product, "upgrade", RELEASE, chart, "--install", "--take-ownership", *settings)
    _await_ready(product)


def _helm(product: Product, *words: str) -> None:
    where = ["--namespace", SYSTEM, "--kubeconfig", product.kubeconfig]
    subprocess.run([cluster_says("tool", "helm"), *words, *where], check=True, capture_output=True)


def _await_ready(product: Product) -> None:
    for deployment in (OPERATOR, "agentsessions-gateway"):
        product.kubectl("rollout", "status", f"deployment/{deployment}", "-n", SYSTEM, "--timeout=180s")
