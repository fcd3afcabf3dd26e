import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.api.names import MAX_SESSION_NAME
from agentsessions.children.names import claim_name, context_name, pod_name

UID = "5e551011-0000-4000-8000-000000000001"
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
session_names = st.from_regex(SUBDOMAIN, fullmatch=True).filter(lambda name: len(name) <= MAX_SESSION_NAME)


@given(session_names, st.integers(min_value=1, max_value=99_999))
def test_pod_name_is_a_name_that_kubernetes_takes(name: str, epoch: int) -> None:
    made = pod_name(name, UID, "agent", epoch)
    assert SUBDOMAIN.fullmatch(made)
    assert len(made) <= 40 + 1 + 8 + 1 + 5


def test_pod_name_differs_by_session_agent_and_epoch() -> None:
    made = {
        pod_name("a" * 52, UID, "agent", 1),
        pod_name("a" * 52, UID, "agent", 2),
        pod_name("a" * 52, UID, "other", 1),
        pod_name("a" * 52, UID.replace("1", "2"), "agent", 1),
    }
    assert len(made) == 4


def test_pod_name_of_a_session_never_changes() -> None:
    assert pod_name("sales-analysis", UID, "analyst", 3) == "sales-analysis-86e9817e-3"


@pytest.mark.parametrize("made", [claim_name("rows", UID, "agent"), context_name("rows", UID)])
def test_other_names_keep_the_readable_beginning(made: str) -> None:
    assert made.startswith("rows-")
