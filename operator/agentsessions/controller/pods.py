"""Agent pods, by the uid of the session that owns them."""

from collections.abc import Callable

from agentsessions.api import names
from agentsessions.controller.store import key_of
from agentsessions.controller.views import to_pod
from agentsessions.engine.client import Client
from agentsessions.engine.informer import Informer
from agentsessions.engine.resources import POD
from agentsessions.lifecycle.facts import PodView


class Pods:
    """A view of each agent pod of the cluster, kept by an informer."""

    def __init__(self, client: Client, on_change: Callable[[str], None]) -> None:
        """Tell `on_change` the uid of each session of which a pod came, changed or went."""
        self._on_change = on_change
        self._by_session: dict[str, dict[str, PodView]] = {}
        self.informer: Informer[PodView] = Informer(
            client,
            POD,
            convert=to_pod,
            key_of=lambda pod: key_of(pod.namespace, pod.name),
            on_change=self._note,
            label_selector=f"{names.LABEL_MANAGED_BY}={names.MANAGER}",
        )

    def of(self, session_uid: str) -> tuple[PodView, ...]:
        """Return the pods of a session, in order of their names."""
        pods = self._by_session.get(session_uid, {})
        return tuple(pods[uid] for uid in sorted(pods, key=lambda uid: (pods[uid].epoch, pods[uid].name)))

    def all(self) -> list[PodView]:
        """Return the pods of all sessions."""
        return [pod for pods in self._by_session.values() for pod in pods.values()]

    def _note(self, old: PodView | None, new: PodView | None) -> None:
        if old is not None:
            self._by_session.get(old.session_uid, {}).pop(old.uid, None)
        if new is not None:
            self._by_session.setdefault(new.session_uid, {})[new.uid] = new
        for pod in {pod.session_uid: pod for pod in (old, new) if pod is not None}.values():
            if not self._by_session.get(pod.session_uid, True):
                del self._by_session[pod.session_uid]
            self._on_change(pod.session_uid)
