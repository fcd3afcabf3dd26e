"""The local provider: Kubernetes' own programs as processes of this machine.

`up` compares what is with what should be and mends the difference: starting, repairing and reusing are one path.
What is beyond mending, a network that is gone or was never finished, is taken down to the state directory, as after a
reboot.
"""

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from . import certificates, configs, health, host, images, network, pause, processes, remains, store
from .api import Api
from .components import CONTROL_PLANE, Component, components
from .configs import PAUSE_IMAGE, STORAGE_CLASS
from .layout import Layout, state_root
from .report import ClusterError, say
from .shell import run, succeeds
from .store import Remembered
from .toolchain import Binaries, are_cached, ensure_binaries

_READY_SECONDS: Final = 60
_PATIENCE_SECONDS: Final = 30
"""How long a program may run without working before it is started again, once."""
_SAY_SECONDS: Final = 5


def up(name: str) -> Layout:
    """Start, mend or reuse the cluster `name`; it works when this returns."""
    host.require_root()
    binaries = _prepare_machine()
    with store.cluster_lock(name):
        remembered = store.read_remembered(name) or store.allocate(name)
        layout = store.layout_of(name, remembered)
        _claim_runtime(layout)
        wanted = _write_configuration(layout, binaries)
        if all(health.is_current(layout, one) for one in wanted) and _failures(layout, wanted) == []:
            say(f"cluster {name!r} is healthy already")
            return layout
        _mend_network(layout)
        remains.create_cgroups(layout)
        _start_all(layout, wanted, binaries)
        say(f"cluster {name!r} is ready: node {layout.node_name}, API server {layout.api_url}")
        return layout


def _prepare_machine() -> Binaries:
    """Install packages, and build the programs; on a first start the base image is made meanwhile."""
    if are_cached():
        host.ensure_packages(host.NODE_PACKAGES)
        return ensure_binaries()
    say("first start on this machine: the cluster's programs are built from source, in about 6 minutes on 2 cores")
    meanwhile = threading.Thread(target=_prepare_packages, daemon=True)
    meanwhile.start()
    binaries = ensure_binaries()
    meanwhile.join()
    host.ensure_packages(host.NODE_PACKAGES)
    return binaries


def _prepare_packages() -> None:
    try:
        host.ensure_packages(host.NODE_PACKAGES | host.IMAGE_PACKAGES)
        images.ensure_base()
    except ClusterError as error:
        say(f"put off, the image build will try again: {error}")


def _claim_runtime(layout: Layout) -> None:
    """Refuse a name whose processes belong to another state directory (another user, another XDG_STATE_HOME)."""
    owner = layout.run / "owner"
    if owner.exists() and owner.read_text() != str(layout.state):
        raise ClusterError(
            f"a cluster {layout.name!r} with its state in {owner.read_text()} exists: choose another --name"
        )
    store.write_text(owner, str(layout.state))


def _write_configuration(layout: Layout, binaries: Binaries) -> list[Component]:
    for directory in (layout.state, layout.volumes, layout.pod_logs, layout.kubelet_root):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificates.ensure(layout)
    for path, content in configs.render_all(layout, _nameservers()).items():
        store.write_text(path, content)
    return components(layout, binaries)


def _nameservers() -> list[str]:
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if path.exists() and (found := configs.usable_nameservers(path.read_text())):
            return found
    return []


def _mend_network(layout: Layout) -> None:
    if network.is_present(layout):
        return
    if any(processes.read_record(path) for path in layout.records.glob("*") if path.suffix == ""):
        say("the cluster's network is gone: stopping what is left, to start from its data")
    remains.remove_runtime(layout)
    _claim_runtime(layout)
    network.create(layout)
    say(f"network: {layout.bridge_ip} on {layout.bridge} in namespace {layout.netns}")


def _start_all(layout: Layout, wanted: Sequence[Component], binaries: Binaries) -> None:
    """Start what does not run as it should: first what the rest waits for, then the rest at once."""
    containerd, *others = wanted
    first = [one for one in others if one.name in CONTROL_PLANE]
    _end_orphaned_apiserver(layout, first)
    for one in (containerd, *first):
        _start(layout, one)
    _ensure_pause_image(layout, binaries)
    _wait(layout, [containerd, *first], lambda: not Api(layout.kubeconfig).is_ready(), "API server")
    for one in others:
        _start(layout, one)
    _ensure_storage_class(layout)
    _wait(layout, wanted, lambda: _failures(layout, wanted) != [], "node")


def _end_orphaned_apiserver(layout: Layout, control_plane: Sequence[Component]) -> None:
    """End an API server whose etcd is gone: left alone, its connection backs off for up to half a minute."""
    etcd, apiserver = control_plane
    running = processes.read_record(layout.records / apiserver.name)
    if running and not health.is_current(layout, etcd):
        processes.end([running], patience_seconds=0)


def _start(layout: Layout, component: Component) -> None:
    if health.is_current(layout, component):
        return
    if (running := processes.read_record(layout.records / component.name)) and processes.is_running(running):
        say(f"restarting {component.name}: what it was started with has changed")
        processes.end([running], patience_seconds=5)
    else:
        say(f"starting {component.name}")
    processes.start(layout, component.name, component.argv, processes.fingerprint(component.argv, component.files))


def _ensure_pause_image(layout: Layout, binaries: Binaries) -> None:
    if not processes.wait_until(lambda: succeeds([*images.ctr(layout), "version"]), _PATIENCE_SECONDS):
        raise ClusterError(f"containerd does not answer:\n{_tail(layout, 'containerd')}")
    if PAUSE_IMAGE in run([*images.ctr(layout), "images", "list", "-q"]).split():
        return
    archive = layout.run / "pause.tar"
    pause.write_archive(binaries.pause, PAUSE_IMAGE, archive)
    run([*images.ctr(layout), "images", "import", archive])
    archive.unlink()


def _ensure_storage_class(layout: Layout) -> None:
    code, answer = Api(layout.kubeconfig).request("POST", "/apis/storage.k8s.io/v1/storageclasses", STORAGE_CLASS)
    if code not in (201, 409):
        raise ClusterError(f"the storage class was refused with {code}: {answer.get('message')}")


def _failures(layout: Layout, wanted: Sequence[Component]) -> list[health.Check]:
    return [check for check in health.check_all(layout, wanted) if not check.is_fine]


def _wait(layout: Layout, wanted: Sequence[Component], is_missing: Callable[[], bool], what: str) -> None:
    """Wait until `what` works; start again, once, what died or hangs.

    Raises:
        ClusterError: it still does not work; the text has the end of the log of each culprit.
    """
    started_at = said_at = time.monotonic()
    given_a_chance = False
    while is_missing():
        now = time.monotonic()
        dead = [one for one in wanted if not health.is_current(layout, one)]
        if (dead or now - started_at > _PATIENCE_SECONDS) and not given_a_chance:
            given_a_chance = True
            _restart_failing(layout, wanted)
        elif now - started_at > _READY_SECONDS + _PATIENCE_SECONDS or (dead and given_a_chance):
            raise ClusterError(_explain(layout, wanted, what))
        if now - said_at >= _SAY_SECONDS:
            said_at = now
            say(f"  waiting for the {what}: {now - started_at:.0f} s")
        time.sleep(0.1)


def _restart_failing(layout: Layout, wanted: Sequence[Component]) -> None:
    for one in wanted:
        check = health.check_component(layout, one)
        if check.is_fine:
            continue
        say(f"starting {one.name} again: {check.detail}")
        if running := processes.read_record(layout.records / one.name):
            processes.end([running], patience_seconds=2)
        processes.start(layout, one.name, one.argv, processes.fingerprint(one.argv, one.files))


def _explain(layout: Layout, wanted: Sequence[Component], what: str) -> str:
    failures = _failures(layout, wanted)
    findings = "\n".join(f"  {check.name}: {check.detail}" for check in failures)
    names = [one.name for one in wanted if any(check.name == one.name for check in failures)]
    logs = "\n".join(f"end of {layout.logs / name}.log:\n{_tail(layout, name)}" for name in names[:2])
    return f"the {what} of cluster {layout.name!r} does not come up; logs are in {layout.logs}\n{findings}\n{logs}"


def _tail(layout: Layout, name: str) -> str:
    try:
        return "\n".join((layout.logs / f"{name}.log").read_text(errors="replace").splitlines()[-15:])
    except FileNotFoundError:
        return "(no log)"


def has_remains(name: str) -> bool:
    """Return whether something of a local cluster is left whose record is gone."""
    layout = store.layout_of(name, Remembered("local"))
    return any(path.exists() for path in (layout.state, layout.run, layout.netns_file))


def down(layout: Layout) -> None:
    """End and remove the cluster, its data included; works on whatever is left of it."""
    host.require_root()
    remains.remove_runtime(layout)
    _delete_state(layout)
    if not any(state_root().glob("*/cluster.json")):
        remains.remove_last_traces()


def _delete_state(layout: Layout) -> None:
    if left := remains.mounts_below([layout.state]):
        raise ClusterError(f"still mounted, so nothing was deleted below it: {', '.join(left)}; run `down` again")
    shutil.rmtree(layout.state, ignore_errors=True)


def status(layout: Layout) -> list[health.Check]:
    """Return every finding about the cluster."""
    if not are_cached():
        return [health.Check("programs", False, "not built: run `up`")]
    return health.check_all(layout, components(layout, ensure_binaries()))
