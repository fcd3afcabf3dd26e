"""The CRDs as a whole, and the command that writes them."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from agentsessions.api.v1alpha1.session import MUTABLE_SPEC_FIELDS
from agentsessions.crdgen.__main__ import FOLDERS, main
from agentsessions.crdgen.crds import KINDS, SESSION_DEFAULTS, build_crd

SESSION, PROVIDER, TEMPLATE, QUOTA, SERVER, POLICY, APPROVAL, WEBHOOK = (build_crd(kind) for kind in KINDS)


def schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def defaults(node: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return every default in a schema, by path."""
    found = {path: node["default"]} if "default" in node else {}
    for name, child in node.get("properties", {}).items():
        found |= defaults(child, f"{path}.{name}")
    for below in ("items", "additionalProperties"):
        if below in node:
            found |= defaults(node[below], f"{path}[]")
    return found


def test_session_schema_defaults_four_fields_only() -> None:
    assert defaults(schema_of(SESSION)).keys() == {f".spec.{field}" for field in SESSION_DEFAULTS}


def test_status_is_never_defaulted() -> None:
    found = [path for crd in (PROVIDER, QUOTA, SERVER, POLICY, APPROVAL, WEBHOOK) for path in defaults(schema_of(crd))]
    assert not [path for path in found if path.startswith(".status")]


@pytest.mark.requirement("LIFE-2")
def test_every_spec_field_is_mutable_or_held() -> None:
    spec = schema_of(SESSION)["properties"]["spec"]
    held = {rule["fieldPath"][1:] for rule in spec["x-kubernetes-validations"] if "fieldPath" in rule}
    assert held | MUTABLE_SPEC_FIELDS == spec["properties"].keys()
    # They are there or not for good; what the conversation holds has its own rules.
    assert held & MUTABLE_SPEC_FIELDS == {"conversation", "monitors", "workspace"}


def test_status_is_a_subresource() -> None:
    assert all(crd["spec"]["versions"][0]["subresources"] == {"status": {}} for crd in (SESSION, PROVIDER, QUOTA))


def test_main_writes_what_check_accepts(tmp_path: Path) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--root", str(tmp_path), "--check"]) == 0
    written = tmp_path / FOLDERS[0] / KINDS[0].file_name
    assert yaml.safe_load(written.read_text()) == SESSION


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_check_names_the_stale_file_and_the_remedy(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--root", str(tmp_path)])
    stale = tmp_path / folder / KINDS[1].file_name
    stale.write_text(stale.read_text() + "# edited\n")
    assert main(["--root", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err == f"{stale} is not what the models say: run `make generate`\n"
