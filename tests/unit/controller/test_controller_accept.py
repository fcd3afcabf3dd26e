"""What a session names must be there and fit, before it is accepted."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentsessions.api.levels import SourceAnswer
from agentsessions.api.reasons import Reason
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.children.snapshot import wanted_content
from agentsessions.controller.accept import Acceptor, check_spec, read_sources
from agentsessions.controller.levels import GatewayAwayError
from agentsessions.controller.ownids import OwnIds
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.sources import Sources
from agentsessions.controller.store import Providers, Sessions
from agentsessions.controller.tool_servers import ToolServers
from agentsessions.controller.views import to_session
from agentsessions.controller.workspaces import Workspaces
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from tests.unit.controller.objects import a_raw_provider, a_raw_session

PRICES = {"inputMicroUSDPerMillion": 250_000, "outputMicroUSDPerMillion": 2_000_000}
FREE, PRICED = {"name": "small"}, {"name": "large", "prices": PRICES}
COST_LIMIT = {"maxCostMicroUSD": 5000}


class Journal:
    """What the gateway answers who asks for the source of a session; it was asked for those in `asked`."""

    def __init__(self) -> None:
        self.answer: SourceAnswer | None = SourceAnswer()
        self.is_away = False
        self.asked: list[str] = []

    async def take_over(self, uid: str) -> SourceAnswer | None:
        self.asked.append(uid)
        if self.is_away:
            raise GatewayAwayError("nobody there")
        return self.answer


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
def tool_servers() -> ToolServers:
    return ToolServers()


@pytest.fixture
async def acceptor(providers: Providers, tool_servers: ToolServers, journal: Journal) -> AsyncIterator[Acceptor]:
    async def refresh(_key: str) -> bool:
        return False

    # Sessions without references need nothing of the API server.
    client = Client(ClusterAccess(server="http://127.0.0.1:9", ssl=False, token=lambda: ""), field_manager="test")
    own_ids = OwnIds(Sessions())
    yield Acceptor(
        client,
        providers,
        "agentsessions-system",
        refresh_provider=refresh,
        own_ids=own_ids,
        sources=Sources(journal.take_over, Workspaces(client, Sessions())),
        tool_servers=tool_servers,
    )
    await client.close()


async def reason_of(acceptor: Acceptor, **spec: Any) -> tuple[Reason, str]:
    found = await acceptor.accept(to_session(a_raw_session(**spec)).view)
    return found.reason, found.message


@pytest.mark.requirement("LIM-1")
@pytest.mark.parametrize(
    ("models", "spec", "reason"),
    [
        pytest.param([FREE], {}, Reason.ACCEPTED, id="without a cost limit no price is needed"),
        pytest.param([FREE], {"limits": COST_LIMIT}, Reason.PRICE_NOT_FOUND, id="the default model has no price"),
        pytest.param([PRICED, FREE], {"limits": COST_LIMIT}, Reason.ACCEPTED, id="the default model has a price"),
        pytest.param(
            [PRICED, FREE],
            {"limits": COST_LIMIT, "agents": [{"name": "a", "model": {"name": "small"}}]},
            Reason.PRICE_NOT_FOUND,
            id="the model that the agent names has no price",
        ),
        pytest.param(
            [FREE, PRICED],
            {"limits": COST_LIMIT, "agents": [{"name": "a", "model": {"name": "large"}}]},
            Reason.ACCEPTED,
            id="the model that the agent names has a price",
        ),
        pytest.param(
            [PRICED],
            {"limits": COST_LIMIT, "agents": [{"name": "a", "model": {"name": "huge"}}]},
            Reason.MODEL_NOT_FOUND,
            id="a model that is not there is told first",
        ),
    ],
)
async def test_accept_wants_the_prices_that_a_cost_limit_needs(
    acceptor: Acceptor, providers: Providers, models: list[dict[str, Any]], spec: dict[str, Any], reason: Reason
) -> None:
    providers.put(a_raw_provider(models=models))
    assert (await reason_of(acceptor, **spec))[0] is reason


async def test_accept_names_what_has_no_price_and_is_content_once_it_has(
    acceptor: Acceptor, providers: Providers
) -> None:
    providers.put(a_raw_provider("3", models=[FREE]))
    _, message = await reason_of(acceptor, limits=COST_LIMIT)
    for word in ("maxCostMicroUSD", "'small'", "agent agent", "ModelProvider 'default'", "add prices"):
        assert word in message

    providers.put(a_raw_provider("4", models=[FREE | {"prices": PRICES}]))
    assert await reason_of(acceptor, limits=COST_LIMIT) == (Reason.ACCEPTED, "")


async def test_accept_is_content_once_the_cost_limit_is_gone(acceptor: Acceptor, providers: Providers) -> None:
    providers.put(a_raw_provider(models=[FREE]))
    assert (await reason_of(acceptor, limits=COST_LIMIT))[0] is Reason.PRICE_NOT_FOUND
    assert (await reason_of(acceptor, limits={"maxSteps": 3}))[0] is Reason.ACCEPTED


@pytest.mark.requirement("OBJ-6")
@pytest.mark.parametrize("conversation", [None, {"open": False}, {"idleSeconds": 5}])
def test_check_spec_refuses_a_session_with_nothing_to_do(conversation: dict[str, Any] | None) -> None:
    with pytest.raises(RefusedError, match=r"spec\.goal .* spec\.conversation\.open") as refused:
        check_spec(SessionSpec.model_validate({"conversation": conversation}))
    assert refused.value.reason is Reason.INVALID_SPEC


@pytest.mark.parametrize("spec", [{"conversation": {"open": True}}, {"goal": "g", "conversation": {"open": False}}])
def test_check_spec_accepts_a_goal_or_an_open_conversation(spec: dict[str, Any]) -> None:
    check_spec(SessionSpec.model_validate(spec))


SOURCES = [
    {"name": "sales", "format": "CSV", "configMapKeyRef": {"name": "sales", "key": "a"}},
    {"name": "people", "format": "JSON", "configMapKeyRef": {"name": "sales", "key": "b"}},
]


@pytest.mark.requirement("OBJ-8")
def test_data_sources_are_pinned_with_digest_and_rows() -> None:
    spec = SessionSpec.model_validate({"goal": "g", "dataSources": SOURCES})
    assert wanted_content(spec).keys() == {"data-0", "data-1"}
    found = read_sources(spec, {"data-0": b"a\n1\n2\n", "data-1": b'[{"a": 1}]'})
    assert [(one.name, one.rows, len(one.digest)) for one in found] == [("sales", 2, 64), ("people", 1, 64)]


@pytest.mark.requirement("OBJ-8")
def test_a_data_source_that_is_no_table_is_told_by_name_format_and_problem() -> None:
    spec = SessionSpec.model_validate({"goal": "g", "dataSources": SOURCES})
    with pytest.raises(RefusedError, match=r"spec\.dataSources\[people\] \(JSON, NotJSON\): it is not JSON") as refused:
        read_sources(spec, {"data-0": b"a\n1\n", "data-1": b"["})
    assert refused.value.reason is Reason.DATA_SOURCE_INVALID


@pytest.mark.requirement("OBJ-3")
async def test_accept_refuses_a_tool_that_the_mode_does_not_allow(acceptor: Acceptor, providers: Providers) -> None:
    providers.put(a_raw_provider())
    agents = [{"name": "a", "tools": [{"builtin": "Shell"}]}]
    reason, message = await reason_of(acceptor, mode="Analysis", agents=agents)
    assert reason is Reason.INVALID_SPEC
    assert "tool Shell is not one that mode Analysis allows" in message


def a_server(name: str, *tools: str, status: str = "True", generation: int = 1) -> dict[str, Any]:
    ready = {"type": "Ready", "status": status, "reason": "Accepted", "message": "no answer within 20 s"}
    found = [{"name": tool, "sideEffect": "External", "digest": "d"} for tool in tools]
    return {
        "metadata": {"namespace": "team", "name": name, "uid": name, "generation": generation, "resourceVersion": "1"},
        "spec": {"url": "https://mcp.example.com/mcp"},
        "status": {
            "observedGeneration": 1,
            "conditions": [ready | {"lastTransitionTime": "2026-11-21T12:00:00Z"}],
            "tools": found,
        },
    }


@pytest.mark.requirement("AG-2")
@pytest.mark.parametrize(
    ("server", "reason", "said"),
    [
        pytest.param(a_server("other"), Reason.SERVER_NOT_FOUND, "which is not in namespace team", id="no such server"),
        pytest.param(a_server("web", status="False"), Reason.SERVER_NOT_READY, "no answer", id="it is away"),
        pytest.param(a_server("web", generation=2), Reason.SERVER_NOT_READY, "has not asked it yet", id="it is new"),
        pytest.param(a_server("web", "fetch"), Reason.TOOL_NOT_FOUND, "which has fetch", id="it has no such tool"),
        pytest.param(a_server("web", "search"), Reason.ACCEPTED, "", id="it has what is named"),
    ],
)
async def test_accept_waits_for_the_tools_that_agents_name(
    acceptor: Acceptor,
    providers: Providers,
    tool_servers: ToolServers,
    server: dict[str, Any],
    reason: Reason,
    said: str,
) -> None:
    providers.put(a_raw_provider())
    tool_servers.put(server)
    tools = [{"serverRef": {"name": "web"}, "allow": ["search"]}]
    session = to_session(a_raw_session(agents=[{"name": "a", "tools": tools}])).view

    accepted = await acceptor.accept(session)

    assert accepted.reason is reason
    assert said in (accepted.message or "")


FORK = {"sessionRef": {"name": "other"}}


@pytest.mark.requirement("AG-7")
@pytest.mark.parametrize(
    ("answer", "is_away", "reason", "words"),
    [
        pytest.param(SourceAnswer(), False, Reason.ACCEPTED, "", id="the journal has copied it"),
        pytest.param(
            SourceAnswer(reason=Reason.SOURCE_NOT_FOUND, message="no session 'other'"),
            False,
            Reason.SOURCE_NOT_FOUND,
            "no session 'other'",
            id="there is none",
        ),
        pytest.param(None, False, Reason.AWAITING_JOURNAL, "spec.source.sessionRef", id="the journal is not so far"),
        pytest.param(SourceAnswer(), True, Reason.AWAITING_JOURNAL, "nobody there", id="the gateway is away"),
    ],
)
async def test_a_fork_is_accepted_once_the_journal_has_its_source(
    acceptor: Acceptor,
    providers: Providers,
    journal: Journal,
    answer: SourceAnswer | None,
    is_away: bool,
    reason: Reason,
    words: str,
) -> None:
    providers.put(a_raw_provider(models=[FREE]))
    journal.answer, journal.is_away = answer, is_away
    found = await reason_of(acceptor, source=FORK)
    assert found[0] is reason
    assert words in found[1]


@pytest.mark.requirement("AG-7")
async def test_a_session_without_source_asks_the_journal_nothing(
    acceptor: Acceptor, providers: Providers, journal: Journal
) -> None:
    providers.put(a_raw_provider(models=[FREE]))
    await reason_of(acceptor)
    assert journal.asked == []
