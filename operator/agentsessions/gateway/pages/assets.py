"""Style and scripts of the page: files of ours and of others, named by what is in them, kept by browsers for ever."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "static"
TYPES: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
PREFIX: Final = "/ui/static"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is served."""

    content: bytes
    media_type: str
    url: str


def load_assets() -> dict[str, Asset]:
    """Return all files, by name and by the last part of their URL."""
    found: dict[str, Asset] = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix not in TYPES:
            continue
        content = path.read_bytes()
        served = f"{path.stem}-{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
        found[path.name] = found[served] = Asset(content, TYPES[path.suffix], f"{PREFIX}/{served}")
    return found
