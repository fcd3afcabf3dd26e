"""The product's image: a base image from the machine's own Debian sources, and the Dockerfile on top of it.

Tests have images of their own on top of the product's: a `Recipe` with a Dockerfile.
"""

import configparser
import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import host
from .layout import Layout, cache_root
from .report import ClusterError, say
from .shell import run, succeeds
from .store import locked, write_text

_BASE_PACKAGES: Final = "python3-minimal,python3-venv,ca-certificates"
_BASE_SUITE: Final = "bookworm"
_INPUTS: Final = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "requirements/runtime.txt",
    "operator",
)
_BOOTSTRAP: Final = (
    "mmdebstrap",
    "--quiet",
    "--variant=minbase",
    f"--include={_BASE_PACKAGES}",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
)
_PIP_KEYS: Final = {
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "cert",
    "client-cert",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
}
_CERTIFICATES: Final = Path("/etc/ssl/certs")


def ctr(layout: Layout) -> list[str]:
    """Return containerd's own client, pointed at the cluster's images."""
    return ["ctr", "--address", str(layout.containerd_socket), "--namespace", "k8s.io"]


def full_name(tag: str) -> str:
    """Return the name under which pods use the image: without a registry it is a `localhost/` one."""
    return tag if "/" in tag else f"localhost/{tag}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is built from."""

    root: Path
    """The work tree of the product."""
    dockerfile: Path | None = None
    """Another image's, on top of the product's image; its directory is the build's context."""

    @property
    def name(self) -> str:
        """The image's name, without a tag."""
        return f"agentsessions-{self.dockerfile.absolute().parent.name}" if self.dockerfile else "agentsessions"

    def digest(self) -> str:
        """Return a digest of the names and contents of everything that goes into the image.

        Raises:
            ClusterError: a Dockerfile is missing.
        """
        dockerfile = self.dockerfile or self.root / "Dockerfile"
        if not dockerfile.exists():
            raise ClusterError(f"there is no {dockerfile}")
        seed = Recipe(self.root).digest() if self.dockerfile else _base_key()
        below = self.dockerfile.parent if self.dockerfile else self.root
        digest = hashlib.sha256(seed.encode())
        for path in _files_below(below) if self.dockerfile else _product_files(below):
            digest.update(str(path.relative_to(below)).encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()


def _product_files(root: Path) -> Iterable[Path]:
    for name in _INPUTS:
        path = root / name
        if path.is_file():
            yield path
        elif path.is_dir():
            yield from _files_below(path)


def _files_below(directory: Path) -> list[Path]:
    found = (file for file in directory.rglob("*") if file.is_file())
    return sorted(file for file in found if "__pycache__" not in file.parts)


def build(tag: str, recipe: Recipe) -> str:
    """Build the image, where its inputs changed since, and return the digest of the inputs.

    What `RUN` needs from this machine (certificates, pip's configuration and cache) is mounted, never copied: it is not
    in the image, and does not count when buildah looks for a cached layer.
    """
    host.require_root()
    host.ensure_packages(host.IMAGE_PACKAGES)
    digest = recipe.digest()
    with _storage():
        _build_missing(recipe, digest)
        run([*_buildah(), "tag", _by_digest(digest), full_name(tag)])
    return digest


def _build_missing(recipe: Recipe, digest: str) -> None:
    if succeeds([*_buildah(), "inspect", _by_digest(digest)]):
        say(f"image {recipe.name}: its inputs are unchanged, using what was built")
        return
    arguments = _bud_options(ensure_base_image())
    context: list[str | Path] = [recipe.root]
    if recipe.dockerfile:
        product = Recipe(recipe.root)
        _build_missing(product, product.digest())
        arguments += ["--build-arg", f"PRODUCT_IMAGE={_by_digest(product.digest())}"]
        context = ["--file", recipe.dockerfile, recipe.dockerfile.parent]
    say(f"image {recipe.name}: building; a change of requirements takes a minute, a change of source seconds")
    run([*_buildah(), *arguments, "-t", _by_digest(digest), *context], env=_environment())
    say(f"image {recipe.name}: built")


def load(layout: Layout, tag: str, digest: str) -> None:
    """Import the image into the cluster, replacing the tag, unless it is there already."""
    name = full_name(tag)
    marker = layout.state / "images.json"
    known: dict[str, str] = json.loads(marker.read_text()) if marker.exists() else {}
    if known.get(name) == digest and name in run([*ctr(layout), "images", "list", "-q"]).split():
        say(f"image: {name} is in the cluster already")
        return
    with _storage():
        archive = _export(_by_digest(digest), name, set(run([*ctr(layout), "content", "list", "-q"]).split()))
        run([*ctr(layout), "images", "import", archive])
        archive.unlink()
    write_text(marker, json.dumps({**known, name: digest}))
    say(f"image: {name} is in the cluster")


def ensure_base() -> Path:
    """Return the archive of the base's files: a minimal Debian with Python, from the machine's own package sources."""
    archive = cache_root() / "base" / f"{_base_key()}.tar"
    with locked(cache_root() / "base.lock", "makes the base image"):
        if not archive.exists():
            say("base image: making a minimal Debian with Python, once, in about a minute")
            archive.parent.mkdir(parents=True, exist_ok=True)
            unfinished = archive.with_suffix(".new.tar")
            run(["nice", "-n", "5", *_BOOTSTRAP, _BASE_SUITE, unfinished])
            unfinished.replace(archive)
            say("base image: made")
    return archive


def ensure_base_image() -> str:
    """Return the name of the base image in buildah's storage."""
    archive, name = ensure_base(), f"localhost/agentsessions-base:{_base_key()}"
    if not succeeds([*_buildah(), "inspect", name]):
        recipe = archive.with_suffix(".Dockerfile")
        recipe.write_text(f"FROM scratch\nADD {archive.name} /\n")
        run([*_buildah(), "bud", "--isolation", "chroot", "-t", name, "-f", recipe, archive.parent])
    return name


def _base_key() -> str:
    return hashlib.sha256("\0".join((*_BOOTSTRAP, _BASE_SUITE)).encode()).hexdigest()[:12]


def _by_digest(digest: str) -> str:
    return f"localhost/agentsessions-inputs:{digest[:24]}"


def _buildah() -> list[str]:
    directory = str(cache_root() / "buildah")
    runtime = f"/run/agentsessions-buildah-{hashlib.sha256(directory.encode()).hexdigest()[:8]}"
    return ["buildah", "--root", directory, "--runroot", runtime, "--storage-driver", "overlay"]


def _bud_options(base: str) -> list[str]:
    cache = cache_root() / "pip"
    cache.mkdir(parents=True, exist_ok=True)
    mounts = {cache: "/root/.cache/pip:rw", _write_pip_configuration(): "/etc/pip.conf:ro"}
    mounts |= {path: f"{path}:ro" for path in sorted({_CERTIFICATES, *_pip_files()})}
    volumes = [option for source, target in mounts.items() for option in ("-v", f"{source}:{target}")]
    return [
        "bud",
        "--isolation",
        "chroot",
        "--layers",
        "--network",
        "host",
        "--build-arg",
        f"BASE_IMAGE={base}",
        *volumes,
    ]


def _pip_settings() -> dict[str, str]:
    """Return pip's settings from the environment, as keys of its configuration file."""
    found = {key[4:].lower().replace("_", "-"): value for key, value in os.environ.items() if key.startswith("PIP_")}
    if "cert" not in found and (bundle := os.environ.get("SSL_CERT_FILE")):
        found["cert"] = bundle
    return {key: value for key, value in found.items() if key in _PIP_KEYS and value}


def _write_pip_configuration() -> Path:
    """Give the build what pip uses here: the machine's own files, then the environment, which wins."""
    parts = [
        path.read_text() for path in (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf") if path.exists()
    ]
    merged = configparser.RawConfigParser(strict=False)
    for part in parts:
        merged.read_string(part)
    if not merged.has_section("global"):
        merged.add_section("global")
    for key, value in _pip_settings().items():
        merged.set("global", key, value)
    path = cache_root() / "pip.conf"
    buffer = io.StringIO()
    merged.write(buffer)
    write_text(path, buffer.getvalue())
    return path


def _pip_files() -> set[Path]:
    """Return the files and directories of this machine that pip's settings name, and that no other mount brings."""
    words = " ".join(_pip_settings().values()).split()
    paths = {Path(word) for word in words if word.startswith("/") and Path(word).exists()}
    return {path for path in paths if not path.is_relative_to(_CERTIFICATES)}


def _environment() -> dict[str, str]:
    return {**os.environ, "BUILDAH_ISOLATION": "chroot"}


def _export(source: str, name: str, present: set[str]) -> Path:
    """Write the image as an archive, without the blobs that the cluster has.

    Blobs stay in the cache, uncompressed: what did not change since the last export is not written again.
    """
    blobs = cache_root() / "export"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / "index.json").unlink(missing_ok=True)
    run([*_buildah(), "push", "--quiet", "--disable-compression", source, f"oci:{blobs}:{name}"])
    archive = cache_root() / "export.tar"
    index = json.loads((blobs / "index.json").read_text())
    with tarfile.open(archive, "w") as output:
        for path in (blobs / "oci-layout", blobs / "index.json", *_reachable(blobs, index)):
            if f"sha256:{path.name}" not in present:
                output.add(path, str(path.relative_to(blobs)))
    return archive


def _reachable(blobs: Path, index: dict[str, list[dict[str, str]]]) -> list[Path]:
    """Return the blobs of the one manifest in the index, and delete those of earlier exports."""
    directory = blobs / "blobs" / "sha256"
    manifest = directory / index["manifests"][0]["digest"].partition(":")[2]
    content = json.loads(manifest.read_text())
    digests = [entry["digest"].partition(":")[2] for entry in (content["config"], *content["layers"])]
    wanted = [manifest, *(directory / digest for digest in digests)]
    for path in set(directory.iterdir()) - set(wanted):
        path.unlink()
    return wanted


@contextlib.contextmanager
def _storage() -> Iterator[None]:
    """Hold buildah's storage alone, and leave no mount behind: a failed build keeps its container mounted."""
    with locked(cache_root() / "images.lock", "builds images"):
        try:
            yield
        finally:
            succeeds([*_buildah(), "rm", "--all"])
            succeeds(["umount", cache_root() / "buildah" / "overlay"])
