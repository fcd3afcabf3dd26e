"""The files in crds/ are the golden ones: a change of the API shows in the diff of a commit, or fails here."""

from pathlib import Path

import pytest

from agentsessions.crdgen.__main__ import FOLDERS, to_yaml
from agentsessions.crdgen.crds import KINDS, Kind, build_crd

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_crd_is_what_the_models_say(kind: Kind, folder: Path) -> None:
    written = (ROOT / folder / kind.file_name).read_text()
    assert written == to_yaml(build_crd(kind)), "run `make generate`, and commit what it writes"
