"""The verbs. Standard output has only what was asked for (a path, a name, a table); progress goes to standard error."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from . import images, local, providers, store
from .layout import DEFAULT_NAME, repository_root
from .providers import Provider
from .report import ClusterError, say
from .store import Remembered
from .toolchain import TOOLS, ensure_binaries, ensure_tool

_INTERRUPTED: Final = 130


def main(argv: Sequence[str]) -> int:
    """Run one verb and return the exit status."""
    options = _parser().parse_args(argv)
    verb: Callable[[argparse.Namespace], int] = options.run
    try:
        return verb(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: nothing is broken, the next `up` goes on from here", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 hack/cluster", description="A Kubernetes cluster for development.")
    verbs = parser.add_subparsers(dest="verb", required=True)

    def add(
        name: str, run: Callable[[argparse.Namespace], int], text: str, *, named: bool = True
    ) -> argparse.ArgumentParser:
        verb = verbs.add_parser(name, help=text, description=text)
        verb.set_defaults(run=run)
        if named:
            verb.add_argument(
                "--name", default=DEFAULT_NAME, help="cluster (default: %(default)s); clusters share nothing"
            )
        return verb

    up = add("up", _up, "start, repair or reuse a cluster")
    up.add_argument(
        "--provider", choices=list(Provider), help="default: given, where there is a kubeconfig; kind; local"
    )
    up.add_argument("--kubeconfig", help=f"use this cluster (also: {providers.KUBECONFIG_VARIABLE})")
    add("down", _down, "remove a cluster, its data included")
    add("status", _status, "say what runs; exit 0 when all is well")
    add("kubeconfig", _kubeconfig, "print the path of the kubeconfig")
    add("audit-log", _audit_log, "print the path of the API server's audit log")
    add("path", _path, "print the directory with kubectl, for PATH", named=False)
    image = add("image", _image, "build an image, the product's by default, bring it into the cluster, print its name")
    image.add_argument("--tag", help="default: NAME:dev-DIGEST, a new one for every change of the sources")
    image.add_argument(
        "--dockerfile",
        type=Path,
        help="build this one instead, in its directory; its ARG PRODUCT_IMAGE is the product's image",
    )
    tool = add("tool", _tool, "build a Go tool, once, and print its path", named=False)
    tool.add_argument("tool", choices=list(TOOLS))
    return parser


def _known(name: str) -> Remembered:
    remembered = store.read_remembered(name)
    if remembered is None:
        raise ClusterError(f"there is no cluster {name!r}: run `python3 hack/cluster up --name {name}`")
    return remembered


def _local(name: str, what: str) -> Remembered:
    remembered = _known(name)
    if remembered.provider != Provider.LOCAL:
        raise ClusterError(
            f"{what} is known for local clusters only; {name!r} is of the provider {remembered.provider!r}"
        )
    return remembered


def _up(options: argparse.Namespace) -> int:
    remembered = store.read_remembered(options.name)
    asked = bool(options.provider or options.kubeconfig)
    if remembered and not asked:
        provider, kubeconfig = Provider(remembered.provider), remembered.kubeconfig
    else:
        provider, kubeconfig = providers.choose(options.provider, options.kubeconfig)
    if remembered and remembered.provider not in (provider, Provider.GIVEN):
        raise ClusterError(f"{options.name!r} is a cluster of the provider {remembered.provider!r}: `down` it first")
    match provider:
        case Provider.GIVEN:
            providers.up_given(options.name, kubeconfig)
        case Provider.KIND:
            providers.up_kind(options.name)
        case Provider.LOCAL:
            local.up(options.name)
    return 0


def _down(options: argparse.Namespace) -> int:
    with store.cluster_lock(options.name):
        remembered = store.read_remembered(options.name)
        if remembered is None and not local.has_remains(options.name):
            say(f"there is no cluster {options.name!r}")
            return 0
        remembered = remembered or Remembered(Provider.LOCAL)
        providers.down(options.name, remembered)
        say(f"cluster {options.name!r} is removed")
    return 0


def _status(options: argparse.Namespace) -> int:
    remembered = _known(options.name)
    if remembered.provider != Provider.LOCAL:
        print(f"{remembered.provider}: {remembered.kubeconfig}")
        return 0 if providers.is_answering(remembered) else 1
    checks = local.status(store.layout_of(options.name, remembered))
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{'ok ' if check.is_fine else 'BAD'}  {check.name:<{width}}  {check.detail}")
    return 0 if all(check.is_fine for check in checks) else 1


def _kubeconfig(options: argparse.Namespace) -> int:
    remembered = _known(options.name)
    print(remembered.kubeconfig or store.layout_of(options.name, remembered).kubeconfig)
    return 0


def _audit_log(options: argparse.Namespace) -> int:
    print(store.layout_of(options.name, _local(options.name, "the audit log")).audit_log)
    return 0


def _path(_: argparse.Namespace) -> int:
    print(ensure_binaries().directory)
    return 0


def _image(options: argparse.Namespace) -> int:
    recipe = images.Recipe(repository_root(), options.dockerfile)
    tag = options.tag or f"{recipe.name}:dev-{recipe.digest()[:12]}"
    providers.provide_image(options.name, _known(options.name), tag, recipe)
    print(images.full_name(tag))
    return 0


def _tool(options: argparse.Namespace) -> int:
    print(Path(ensure_tool(options.tool)))
    return 0
