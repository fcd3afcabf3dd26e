"""Bodies that create and change sessions, and the names that sessions get."""

import re

import pytest
from pydantic import ValidationError

from agentsessions.api.names import MAX_SESSION_NAME
from agentsessions.api.v1alpha1.names import SUBDOMAIN
from agentsessions.api.v1alpha1.session import MUTABLE_SPEC_FIELDS, SessionSpec
from agentsessions.gateway.naming import fixed_name, name_of, to_slug
from agentsessions.gateway.resource_bodies import META_FIELDS, SessionCreate, SessionPatch


def described(model: type[SessionSpec] | type[SessionPatch]) -> dict[str, str | None]:
    return {field.alias or name: field.description for name, field in model.model_fields.items()}


def test_patch_has_every_field_that_may_change_and_describes_it_alike() -> None:
    patch, spec = described(SessionPatch), described(SessionSpec)
    assert patch.keys() - META_FIELDS == MUTABLE_SPEC_FIELDS
    reworded = {"conversation", "workspace"}
    assert {name: patch[name] for name in MUTABLE_SPEC_FIELDS - reworded} == {
        name: spec[name] for name in MUTABLE_SPEC_FIELDS - reworded
    }


def test_creation_has_every_field_of_the_spec() -> None:
    created = described(SessionCreate)
    assert created.keys() - META_FIELDS == described(SessionSpec).keys()
    assert None not in created.values()


def test_creation_leaves_defaults_to_the_api_server_and_content_as_it_is() -> None:
    body = {"name": "n", "labels": {"a": "b"}, "goal": "x", "context": {"json": {"nothing": None}}, "title": None}
    assert SessionCreate.model_validate(body).to_spec() == {"goal": "x", "context": {"json": {"nothing": None}}}


@pytest.mark.parametrize("value", [pytest.param(2**64, id="a number"), pytest.param("\ud800", id="half a character")])
def test_creation_refuses_what_cannot_be_written_again(value: object) -> None:
    with pytest.raises(ValidationError, match=r"cannot be written as JSON|unicode"):
        SessionCreate.model_validate({"goal": "x", "context": {"json": {"a": value}}})


def test_patch_keeps_the_nulls_that_remove() -> None:
    body = {"title": None, "limits": {"maxSteps": None}, "metadata": {"a": None}, "labels": {"b": None}}
    labels = body.pop("labels")
    wanted = {"metadata": {"labels": labels}, "spec": body}
    assert SessionPatch.model_validate({**body, "labels": labels}).to_patch() == wanted


@pytest.mark.parametrize(
    "name", sorted({field for field in described(SessionSpec) if field not in MUTABLE_SPEC_FIELDS})
)
def test_patch_names_what_cannot_change(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} cannot change after creation"):
        SessionPatch.model_validate({name: None})


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        pytest.param("Monthly Sales: Q3!", "monthly-sales-q3", id="words"),
        pytest.param("---", "session", id="nothing to name it by"),
        pytest.param("продажи", "session", id="letters that names may not have"),
        pytest.param("a" * 39 + "-b", "a" * 39, id="cut where a hyphen is"),
    ],
)
def test_slug_is_the_beginning_of_a_name(text: str, slug: str) -> None:
    assert to_slug(text) == slug


@pytest.mark.requirement("OBJ-5")
def test_name_follows_from_owner_and_own_id() -> None:
    body = SessionCreate(goal="x", session_id="Team/Chat:" + "1" * 100)
    name = name_of(body, "alice")
    assert len(name) <= MAX_SESSION_NAME
    assert re.fullmatch(SUBDOMAIN, name)
    assert name == name_of(body, "alice") != name_of(body, "bob")
    assert name_of(body, None) != name_of(body, "alice")
    assert fixed_name("a", "b", "c") != fixed_name("a", "bc")


def test_name_without_an_id_is_the_givers_or_a_new_one() -> None:
    assert name_of(SessionCreate(goal="x", name="mine", session_id="y"), None) == "mine"
    untitled = SessionCreate(goal="Find the bug.")
    names = {name_of(untitled, None) for _ in range(10)}
    assert len(names) == 10
    assert all(name.startswith("find-the-bug-") for name in names)
