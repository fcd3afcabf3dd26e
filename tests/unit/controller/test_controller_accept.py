"""What a session names must be there and fit, before it is accepted."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentsessions.api.levels import SourceAnswer
from agentsessions.api.reasons import Reason
from agentsessions.api.v1alpha1 import SessionSpec
from agentsessions.controller.accept import Acceptor, check_spec
from agentsessions.controller.levels import GatewayAwayError
from agentsessions.controller.ownids import OwnIds
from agentsessions.controller.refused import RefusedError
from agentsessions.controller.sources import Sources
from agentsessions.controller.store import Providers, Sessions
from agentsessions.controller.views import to_session
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
async def acceptor(providers: Providers, journal: Journal) -> AsyncIterator[Acceptor]:
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
        sources=Sources(journal.take_over),
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
