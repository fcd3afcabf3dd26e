"""YAML of strangers: read up to its bounds, and refused one value beyond them with what is wrong and where."""

import pytest

from agentsessions.cli.documents import (
    MAX_BYTES,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_VALUES,
    BadDocumentError,
    DocumentProblem,
    read_documents,
)

pytestmark = pytest.mark.requirement("OBJ-8")


def refusal_of(text: str) -> BadDocumentError:
    with pytest.raises(BadDocumentError) as found:
        read_documents(text.encode())
    return found.value


def a_list(count: int) -> str:
    """Return a list that is `count` values, itself one of them."""
    return f"[{'1,' * (count - 1)}]"


def test_each_document_is_read_as_json_would_have_it() -> None:
    text = "a: 2026-11-21\nb: 1:30\nc: [1, 1.5, true, null, '1']\n---\n---\n- &x {k: v}\n- *x\n"
    assert read_documents(text.encode()) == [
        {"a": "2026-11-21", "b": "1:30", "c": [1, 1.5, True, None, "1"]},
        [{"k": "v"}, {"k": "v"}],
    ]


@pytest.mark.parametrize(
    ("most", "more"),
    [
        pytest.param(a_list(MAX_VALUES), a_list(MAX_VALUES + 1), id="values"),
        pytest.param("[" * MAX_DEPTH + "]" * MAX_DEPTH, "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), id="levels"),
        pytest.param("x" * MAX_BYTES, "x" * (MAX_BYTES + 1), id="bytes"),
        pytest.param(f"[&a {a_list(MAX_VALUES - 101)}, &b {a_list(50)}, *b]",
                     f"[&a {a_list(MAX_VALUES - 101)}, &b {a_list(50)}, *b, 1]", id="an alias is what it stands for"),
        pytest.param(f"[&b {a_list(99)}, &c [*b], {'*c,' * 48}]", f"[&b {a_list(99)}, &c [*b], {'*c,' * 49}]",
                     id="an alias of an alias"),
        pytest.param(f"a: &a {'x' * (MAX_CHARACTERS // 4 - 1)}\nb: *a\nc: *a\nd: *a\n",
                     f"a: &a {'x' * (MAX_CHARACTERS // 4)}\nb: *a\nc: *a\nd: *a\n", id="characters of aliases"),
        pytest.param(f"a: &a [{'x' * (MAX_CHARACTERS // 4 - 1)}]\nb: *a\nc: *a\nd: *a\n",
                     f"a: &a [{'x' * (MAX_CHARACTERS // 4)}]\nb: *a\nc: *a\nd: *a\n", id="characters of a list"),
        pytest.param(f"{a_list(MAX_VALUES - 1)}\n---\n1", f"{a_list(MAX_VALUES - 1)}\n---\n[1]", id="of all documents"),
    ],
)  # fmt: skip
def test_what_is_read_ends_at_its_bounds(most: str, more: str) -> None:
    assert len(read_documents(most.encode())) > 0
    assert refusal_of(more).problem in {DocumentProblem.TOO_LARGE, DocumentProblem.TOO_DEEP}


@pytest.mark.parametrize(
    ("text", "problem", "says"),
    [
        pytest.param("a: 1\nb: *x", DocumentProblem.NOT_YAML, "line 2: alias 'x' stands for nothing", id="no anchor"),
        pytest.param("&a [1, *a]", DocumentProblem.NOT_YAML, "alias 'a' stands for nothing", id="of itself"),
        pytest.param("[&a [1], &a [*a]]", DocumentProblem.NOT_YAML, "alias 'a' stands for nothing", id="same name"),
        pytest.param("&a 1\n--- [*a]", DocumentProblem.NOT_YAML, "alias 'a' stands for nothing", id="of another one"),
        pytest.param("a: !!binary eA==", DocumentProblem.NOT_JSON, "line 1: tag tag:yaml.org,2002:binary", id="a tag"),
        pytest.param("1: a", DocumentProblem.NOT_JSON, "key '1' is no text: put it in quotes", id="a key"),
        pytest.param("a: 1e999", DocumentProblem.NOT_JSON, "inf is no number that JSON has", id="infinity"),
        pytest.param("a: [", DocumentProblem.NOT_YAML, "line 2: did not find", id="no end"),
        pytest.param("a: \0", DocumentProblem.NOT_TEXT, "character 3", id="a character"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(text: str, problem: DocumentProblem, says: str) -> None:
    refused = refusal_of(text)
    assert (refused.problem, says in str(refused)) == (problem, True), str(refused)
