from typing import Any

import pytest

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.gateway.goal import build_goal_message

REF = {"name": "sales", "key": "all"}


@pytest.mark.requirement("OBJ-6")
@pytest.mark.parametrize(
    ("context", "referenced", "want"),
    [
        pytest.param(None, None, "Count.", id="the goal alone"),
        pytest.param({"text": "Rows: 3"}, None, "Count.\n\nContext:\nRows: 3", id="text"),
        pytest.param({"json": {"b": 1, "a": "ä"}}, None, 'Count.\n\nContext:\n{\n  "b": 1,\n  "a": "ä"\n}', id="json"),
        pytest.param({"json": {}}, None, "Count.\n\nContext:\n{}", id="an empty object"),
        pytest.param({"configMapKeyRef": REF}, "Rows: 4", "Count.\n\nContext:\nRows: 4", id="a ConfigMap's text"),
        pytest.param(
            {"text": "Rows", "files": [{"path": "in/a.csv", "configMapKeyRef": REF}]},
            None,
            "Count.\n\nContext:\nRows\n\nFiles in your workspace (paths are relative to it):\n- in/a.csv",
            id="text and files",
        ),
    ],
)
def test_the_goal_message_says_the_goal_and_all_that_is_given(
    context: dict[str, Any] | None, referenced: str | None, want: str
) -> None:
    spec = SessionSpec.model_validate({"goal": "Count."} | ({"context": context} if context else {}))
    assert build_goal_message(spec, referenced) == want
