"""Pictures of the page for docs/, from the real product: `make docs-pictures`.

It plays sessions in a namespace of its own on the development cluster, opens the page as `kubectl agentsession ui`
serves it, and writes docs/pictures/*.png, in light and dark.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "docs" / "pictures"
STORIES: Final = Path(__file__).parent / "stories.yaml"
SALES: Final = ROOT / "manifests" / "samples" / "sales"
NAMESPACE: Final = "pictures"
ACCOUNT: Final = "agentsessions-cli"
MOST_BYTES: Final = 150_000
SIZE: Final = {"width": 1040, "height": 720}
PHONE: Final = {"width": 390, "height": 720}
PHASES: Final = {
    "sales-analysis": "Completed",
    "nightly-report": "Paused",
    "on-call": "Idle",
    "release-notes": "Waiting",
}
SAID: Final = ("Which pods were restarted?", "What do they need?")


def hack(name: str, *words: str) -> str:
    """Return what a tool of this folder prints."""
    command = [sys.executable, str(ROOT / "hack" / name), *words]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def environment() -> dict[str, str]:
    """Return the environment in which kubectl and the command line mean the development cluster."""
    path = f"{hack('cluster', 'path')}:{os.environ['PATH']}"
    found = {"PATH": path, "KUBECONFIG": hack("cluster", "kubeconfig"), "PYTHONPATH": str(ROOT / "operator")}
    return {**os.environ, **found}


class Cluster:
    """The development cluster with the product on it."""

    def __init__(self) -> None:
        self.environment = environment()

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl in the namespace of the pictures."""
        where = [] if "namespace" in words else ["-n", NAMESPACE]
        command = ["kubectl", *where, *words]
        done = subprocess.run(command, check=True, input=stdin, stdout=subprocess.PIPE, text=True, env=self.environment)
        return done.stdout

    def cli(self, *words: str) -> list[str]:
        """Return the words that run the command line."""
        return [sys.executable, "-m", "agentsessions.cli.main", *words, "-n", NAMESPACE]

    def run(self, *words: str) -> None:
        """Run a verb of the command line."""
        subprocess.run(self.cli(*words), check=True, env=self.environment)

    @contextmanager
    def page(self) -> Iterator[str]:
        """Serve the page as a user has it; give its address."""
        command = self.cli("ui", "--no-open")
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment) as process:
            try:
                yield process.stdout.readline().strip() if process.stdout else ""
            finally:
                process.terminate()


def play(cluster: Cluster) -> None:
    """Let there be sessions to look at."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    cluster.kubectl("create", "serviceaccount", ACCOUNT)
    cluster.kubectl("create", "rolebinding", ACCOUNT, "--clusterrole=edit", f"--serviceaccount={NAMESPACE}:{ACCOUNT}")
    cluster.kubectl("apply", "-k", str(SALES))
    cluster.kubectl("apply", "-f", str(STORIES))
    for text in SAID:
        cluster.run("send", "on-call", text, "--wait")
    for name, phase in PHASES.items():
        cluster.run("wait", name, "--for", phase, "--timeout", "3m")


def take(page: Page, name: str) -> None:
    """Write a picture."""
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path.relative_to(ROOT)}: {size:,} bytes")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes; {MOST_BYTES} are the most")


def take_all(context: BrowserContext, begin: str, scheme: str) -> None:
    """Go through the page as a user does."""
    page = context.new_page()
    if begin:
        page.goto(begin)
        page.wait_for_url("**/ui/sessions**")
    home = f"{page.url.partition('/ui/')[0]}/ui/sessions"
    sessions = f"{home}?namespace={NAMESPACE}"
    page.goto(sessions)
    take(page, f"list-{scheme}")
    page.get_by_role("link", name="sales-analysis").first.click()
    page.locator(".timeline").wait_for()
    take(page, f"session-{scheme}")
    slider = page.get_by_label("Replay")
    slider.evaluate("slider => { slider.value = slider.max / 2; slider.dispatchEvent(new Event('change')); }")
    page.locator(".replaying").wait_for()
    take(page, f"replay-{scheme}")
    page.goto(sessions)
    page.get_by_role("link", name="release-notes").first.click()
    page.get_by_label("Calls that wait for a person").wait_for()
    take(page, f"approval-{scheme}")
    page.locator(".timeline").scroll_into_view_if_needed()
    page.locator(".views").evaluate("views => views.scrollIntoView()")
    take(page, f"agents-{scheme}")
    page.goto(sessions)
    page.get_by_role("link", name="on-call").first.click()
    page.get_by_role("link", name="Conversation").click()
    page.locator(".answer").last.scroll_into_view_if_needed()
    page.evaluate("scrollTo({top: document.body.scrollHeight})")
    take(page, f"conversation-{scheme}")
    page.set_viewport_size(PHONE)
    page.goto(sessions)
    take(page, f"phone-{scheme}")
    page.close()


def main() -> None:
    """Write all pictures."""
    cluster = Cluster()
    play(cluster)
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=hack("browser", "path"), args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            with cluster.page() as begin:
                context = browser.new_context(color_scheme=scheme, viewport=SIZE, reduced_motion="reduce")
                take_all(context, begin, scheme)
                context.close()
        browser.close()
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


if __name__ == "__main__":
    main()
