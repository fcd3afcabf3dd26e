"""Files that are made from a source elsewhere: written, or, with --check, compared with what they should be."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

REPAIR: Final = "make generate"
ROOT: Final = Path(__file__).resolve().parents[1]


def write_or_check(wanted: Mapping[Path, str], source: str) -> int:
    """Write the files, or say which of them differ from what `source` gives; return the exit code."""
    if "--check" not in sys.argv[1:]:
        for path, text in wanted.items():
            path.write_text(text)
        return 0
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not what {source} say: run `{REPAIR}`", file=sys.stderr)
    return 1 if stale else 0
