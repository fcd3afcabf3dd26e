"""The three places a cluster can come from, in the order in which they are tried: given, kind, local."""

import enum
import os
import shutil
from pathlib import Path
from typing import Final

from . import images, local, store
from .report import ClusterError, say
from .shell import run, succeeds
from .store import Remembered, cluster_directory
from .toolchain import ensure_binaries

KUBECONFIG_VARIABLE: Final = "AGENTSESSIONS_KUBECONFIG"


class Provider(enum.StrEnum):
    """Who makes the cluster."""

    GIVEN = "given"
    """Somebody else did: we only use its kubeconfig."""
    KIND = "kind"
    LOCAL = "local"


def choose(wanted: str | None, kubeconfig: str | None) -> tuple[Provider, str]:
    """Return the provider for a cluster that does not exist yet, and the kubeconfig of a given one."""
    given = kubeconfig or os.environ.get(KUBECONFIG_VARIABLE, "")
    if wanted == Provider.GIVEN and not given:
        raise ClusterError(f"the provider `given` needs --kubeconfig FILE, or {KUBECONFIG_VARIABLE}")
    if given and wanted in (None, Provider.GIVEN):
        if not Path(given).is_file():
            raise ClusterError(f"there is no kubeconfig at {given}")
        return Provider.GIVEN, str(Path(given).absolute())
    if wanted is not None:
        return Provider(wanted), ""
    return (Provider.KIND if _container_engine() and shutil.which("kind") else Provider.LOCAL), ""


def _container_engine() -> str | None:
    """Return the program of a container daemon that answers."""
    return next((engine for engine in ("docker", "podman") if succeeds([engine, "info"])), None)


def up_given(name: str, kubeconfig: str) -> None:
    """Remember the kubeconfig, after its cluster answered."""
    if not is_answering(Remembered(Provider.GIVEN, kubeconfig)):
        raise ClusterError(
            f"the cluster of {kubeconfig} does not answer: try `kubectl --kubeconfig {kubeconfig} get --raw /readyz`"
        )
    with store.cluster_lock(name):
        store.remember(name, Remembered(Provider.GIVEN, kubeconfig))
    say(f"using the cluster of {kubeconfig}")


# kind was not at hand where this was written: these few lines follow its documentation and were never run.


def up_kind(name: str) -> None:
    """Make the kind cluster where it is missing, and write its kubeconfig."""
    with store.cluster_lock(name):
        path = cluster_directory(name) / "kubeconfig"
        store.remember(name, Remembered(Provider.KIND, str(path)))
        if name not in run(["kind", "get", "clusters"]).split():
            say("creating a kind cluster")
            run(["kind", "create", "cluster", "--name", name, "--kubeconfig", path, "--wait", "120s"])
        store.write_text(path, run(["kind", "get", "kubeconfig", "--name", name]))
    say(f"kind cluster {name!r} is ready")


def down(name: str, remembered: Remembered) -> None:
    """Remove the cluster; a given one is only forgotten."""
    match Provider(remembered.provider):
        case Provider.LOCAL:
            local.down(store.layout_of(name, remembered))
        case Provider.KIND:
            run(["kind", "delete", "cluster", "--name", name])
            shutil.rmtree(cluster_directory(name), ignore_errors=True)
        case Provider.GIVEN:
            shutil.rmtree(cluster_directory(name), ignore_errors=True)


def provide_image(name: str, remembered: Remembered, tag: str, recipe: images.Recipe) -> None:
    """Build an image, and bring it to where the cluster finds it."""
    match Provider(remembered.provider):
        case Provider.LOCAL:
            images.load(store.layout_of(name, remembered), tag, images.build(tag, recipe))
        case Provider.KIND:
            engine = _container_engine() or "docker"
            archive = cluster_directory(name) / "image.tar"
            _build_by_engine(engine, tag, recipe)
            run([engine, "save", "--output", archive, images.full_name(tag)])
            run(["kind", "load", "image-archive", "--name", name, archive])
            archive.unlink()
        case Provider.GIVEN:
            say(f"not built: the nodes of a given cluster must find {images.full_name(tag)} by themselves")


def _build_by_engine(engine: str, tag: str, recipe: images.Recipe) -> None:
    if recipe.dockerfile is None:
        run([engine, "build", "--tag", images.full_name(tag), recipe.root])
        return
    product = images.full_name(f"agentsessions-inputs:{images.Recipe(recipe.root).digest()[:24]}")
    run([engine, "build", "--tag", product, recipe.root])
    argument, dockerfile = f"PRODUCT_IMAGE={product}", recipe.dockerfile
    named = [engine, "build", "--tag", images.full_name(tag)]
    run([*named, "--build-arg", argument, "--file", dockerfile, dockerfile.parent])


def is_answering(remembered: Remembered) -> bool:
    """Return whether the API server of a given or kind cluster is ready."""
    kubectl = shutil.which("kubectl") or str(ensure_binaries().directory / "kubectl")
    return succeeds([kubectl, "--kubeconfig", remembered.kubeconfig, "get", "--raw", "/readyz"])
