"""Which sessions a pattern of `spec.monitors` names."""

import pytest

from agentsessions.api.v1alpha1.role import matches

DEPARTMENT = "department-data"


@pytest.mark.requirement("AG-5")
@pytest.mark.parametrize(
    ("pattern", "name", "want"),
    [
        pytest.param(DEPARTMENT, DEPARTMENT, True, id="a name names itself"),
        pytest.param("department", DEPARTMENT, False, id="a name is whole"),
        pytest.param("department-*", DEPARTMENT, True, id="a beginning"),
        pytest.param("department-*", "department-", True, id="nothing is something too"),
        pytest.param("department-*", "my-department-data", False, id="a beginning is at the beginning"),
        pytest.param("*-data", DEPARTMENT, True, id="an end"),
        pytest.param("*-data", "department-data-2", False, id="an end is at the end"),
        pytest.param("*", "anything.at-all", True, id="everything"),
        pytest.param("d*-*a", DEPARTMENT, True, id="several"),
        pytest.param("d*data*data", DEPARTMENT, False, id="no part counts twice"),
        pytest.param("a*a", "a", False, id="neither do beginning and end"),
        pytest.param("a.c", "abc", False, id="a dot is a dot"),
    ],
)
def test_pattern_names_sessions(pattern: str, name: str, *, want: bool) -> None:
    assert matches(pattern, name) is want


def test_hostile_pattern_comes_to_an_end() -> None:
    assert not matches("*a" * 126 + "b", "a" * 253)
