"""Calls that people decide: asked, waited for, decided once, and told to the epoch that plays the turn next."""

import pytest

from agentsessions.api.v1alpha1.approval import ApprovalKind, ApprovalOutcome, ApprovalTerms, OnExpiry
from agentsessions.api.v1alpha1.policy import RuleAction
from agentsessions.api.wire import Outcome, SideEffect, ToolBegin, ToolVerdict, Verdict
from agentsessions.journal import approvals, asked_calls, instances, tools
from agentsessions.journal.approvals import Decided
from agentsessions.journal.asked_calls import Maker, Process
from agentsessions.journal.refusals import TurnMismatch
from agentsessions.journal.store import Store
from agentsessions.lifecycle.policies import FREE, Finding, Ruling
from tests.journal.builders import Player, a_player, an_answer, call_ids

ALLOWED = Finding(RuleAction.ALLOW, "baseline", "fine")
ASKED = Finding(RuleAction.ASK, "baseline", "ask-shell", "shells are asked about", ApprovalTerms(quorum=2))
DENIED = Finding(RuleAction.DENY, "baseline", "no-shell", "no shells here")


def ruled(*findings: Finding) -> Ruling:
    return Ruling(findings[-1], findings)


async def begin(
    player: Player, call_id: str, ruling: Ruling = FREE, side_effect: SideEffect = SideEffect.INTERNAL
) -> ToolVerdict:
    asked = ToolBegin(call_id=call_id, name="shell", arguments='{"command": "ls"}', side_effect=side_effect)
    return await player.store.begin_tool(player.pod, asked, ruling)


async def decide(store: Store, call_id: str, outcome: ApprovalOutcome, number: int = 1, **more: str) -> bool:
    decided = Decided("s1", "agent", 1, call_id, number, outcome, ("alice",), **more)
    return await store.write(lambda work: approvals.decide(work, decided))


async def play(store: Store, epoch: int = 1, tools: tuple[str, ...] = ("shell",)) -> tuple[Player, list[str]]:
    """Let an epoch ask the model, and return its player and the ids of the calls."""
    player = await a_player(store, epoch=epoch)
    await store.pin_turn(player.pod)
    return player, call_ids(await player.ask(an_answer("", *tools)))


async def bodies(store: Store, kind: str) -> list[dict[str, object]]:
    return [entry.body or {} for entry in await store.entries("s1") if entry.type.value == kind]


@pytest.mark.requirement("POL-2")
async def test_an_asked_call_waits_until_it_is_approved_and_then_runs_in_the_next_epoch(store: Store) -> None:
    player, (call,) = await play(store)
    assert (await begin(player, call, ruled(ASKED))).verdict is Verdict.ASK
    (pending,) = (await player.level()).approval_pending
    assert (pending.kind, pending.tool, pending.rule, pending.quorum) == (
        ApprovalKind.APPROVAL,
        "shell",
        "ask-shell",
        2,
    )
    assert (await player.commit(1, Outcome.WAITING)).is_last
    closing = (await player.level()).closing
    assert closing is not None
    assert closing.outcome is Outcome.WAITING
    later, _ = await play(store, 2)
    assert (await begin(later, call)).verdict is Verdict.ASK
    assert await decide(store, call, ApprovalOutcome.APPROVED)
    assert (await later.level()).approval_pending == []
    assert (await begin(later, call, ruled(DENIED))).verdict is Verdict.RUN
    await later.report(call, "done")
    await later.commit(1, Outcome.CONTINUE)
    told = [one["outcome"] for one in await bodies(store, "approval")]
    assert told == ["Pending", "Approved"]
    assert await store.verify("s1") == []


@pytest.mark.requirement("POL-2")
async def test_a_denied_call_gives_the_model_the_reason_as_its_result(store: Store) -> None:
    player, (call,) = await play(store)
    await begin(player, call, ruled(ASKED))
    await decide(store, call, ApprovalOutcome.DENIED, reason="not on a Friday")
    answer = await begin(player, call)
    assert answer.verdict is Verdict.DENY
    assert "not on a Friday" in (answer.output or "")
    assert (await begin(player, call)).verdict is Verdict.RECORDED
    assert [one["isError"] for one in await bodies(store, "tool_result")] == [True]


@pytest.mark.requirement("POL-2")
async def test_a_decision_that_comes_twice_or_late_changes_nothing(store: Store) -> None:
    player, (call,) = await play(store)
    await begin(player, call, ruled(ASKED))
    assert await decide(store, call, ApprovalOutcome.DENIED)
    assert not await decide(store, call, ApprovalOutcome.APPROVED)
    assert (await begin(player, call)).verdict is Verdict.DENY
    await player.commit(1, Outcome.CONTINUE)
    assert not await decide(store, call, ApprovalOutcome.APPROVED)
    assert [one["outcome"] for one in await bodies(store, "approval")] == ["Pending", "Denied"]


async def test_a_pod_waits_for_a_person_only_when_it_was_told_to(store: Store) -> None:
    player, (first, second) = await play(store, tools=("shell", "shell"))
    with pytest.raises(TurnMismatch, match=r"no call of turn 1 .* waits for a person"):
        await player.commit(1, Outcome.WAITING)
    await begin(player, first, ruled(ASKED))
    await begin(player, second)
    await player.report(second, "done")
    await player.commit(1, Outcome.WAITING)
    later, _ = await play(store, 2)
    with pytest.raises(TurnMismatch, match="waits for a person"):
        await later.commit(1, Outcome.WAITING)


@pytest.mark.requirement("POL-1")
async def test_a_denied_call_never_runs_and_the_rule_stands_in_the_journal(store: Store) -> None:
    player, (call,) = await play(store)
    answer = await begin(player, call, ruled(ALLOWED, DENIED))
    assert answer.verdict is Verdict.DENY
    assert "rule no-shell of AgentPolicy baseline denies" in (answer.output or "")
    assert [(one["rule"], one["action"]) for one in await bodies(store, "policy_decision")] == [
        ("fine", "Allow"),
        ("no-shell", "Deny"),
    ]


@pytest.mark.requirement("POL-1")
async def test_a_dry_run_is_journaled_once_and_stops_nothing(store: Store) -> None:
    player, (call,) = await play(store)
    trial = Ruling(None, (Finding(RuleAction.DENY, "trial", "no-shell", is_dry_run=True),))
    for _ in range(2):
        assert (await begin(player, call, trial)).verdict is Verdict.RUN
    assert [(one["rule"], one["dryRun"]) for one in await bodies(store, "policy_decision")] == [("no-shell", True)]


@pytest.mark.requirement("POL-2")
async def test_the_time_to_decide_is_told_with_what_comes_after(store: Store) -> None:
    player, (call,) = await play(store)
    terms = ApprovalTerms(expire_after_seconds=60, on_expiry=OnExpiry.PAUSE)
    await begin(player, call, ruled(Finding(RuleAction.ASK, "p", "r", terms=terms)))
    (pending,) = (await player.level()).approval_pending
    assert pending.expires_at is not None
    assert ((pending.expires_at - pending.asked_at).total_seconds(), pending.on_expiry) == (60, OnExpiry.PAUSE)


@pytest.mark.requirement("LIFE-10")
async def test_a_begun_external_call_of_an_earlier_epoch_is_in_doubt(store: Store) -> None:
    player, (call,) = await play(store)
    assert (await begin(player, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.RUN
    assert (await begin(player, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.RUN
    later, _ = await play(store, 2)
    assert (await begin(later, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.IN_DOUBT
    await later.commit(1, Outcome.WAITING)
    assert await decide(store, call, ApprovalOutcome.RUN_AGAIN)
    third, _ = await play(store, 3)
    assert (await begin(third, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.RUN
    fourth, _ = await play(store, 4)
    assert (await begin(fourth, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.IN_DOUBT
    assert [one.number for one in (await fourth.level()).approval_pending] == [2]
    assert await decide(store, call, ApprovalOutcome.HAPPENED, 2, output="mailed at noon")
    answer = await begin(fourth, call, side_effect=SideEffect.EXTERNAL)
    assert (answer.verdict, answer.output) == (Verdict.RECORDED, "mailed at noon")
    await fourth.commit(1, Outcome.CONTINUE)


async def test_an_approved_external_call_that_was_cut_off_is_in_doubt_even_in_the_epoch_that_asked(
    store: Store,
) -> None:
    player, (call,) = await play(store)
    await begin(player, call, ruled(ASKED), SideEffect.EXTERNAL)
    await decide(store, call, ApprovalOutcome.APPROVED)
    assert (await begin(player, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.RUN
    later, _ = await play(store, 2)
    assert (await begin(later, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.IN_DOUBT


@pytest.mark.requirement("LIFE-11")
async def test_a_call_is_made_by_the_process_that_claimed_it_and_in_doubt_once_that_is_gone(store: Store) -> None:
    player, (call,) = await play(store)
    await begin(player, call, side_effect=SideEffect.EXTERNAL)

    async def claim(process: str, instance: str) -> Maker:
        return await store.write(lambda work: asked_calls.claim(work, player.pod, call, Process(process, instance)))

    await store.write(lambda work: instances.enter(work, "one"))
    assert await claim("first", "one") is Maker.ME
    assert await claim("first", "one") is Maker.ME
    assert await claim("second", "one") is Maker.GONE
    assert await claim("other", "two") is Maker.ANOTHER
    await store.write(lambda work: instances.leave(work, "one"))
    assert await claim("other", "two") is Maker.GONE

    asked = ToolBegin(call_id=call, name="shell", arguments="{}", side_effect=SideEffect.EXTERNAL)
    assert (await store.write(lambda work: tools.doubt(work, player.pod, asked))).verdict is Verdict.IN_DOUBT
    assert (await begin(player, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.IN_DOUBT
    await player.commit(1, Outcome.WAITING)
    assert await decide(store, call, ApprovalOutcome.RUN_AGAIN)
    later, _ = await play(store, 2)
    assert (await begin(later, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.RUN
    assert await claim("third", "one") is Maker.ME


async def test_an_internal_call_of_an_earlier_epoch_runs_again_whatever_policies_say_now(store: Store) -> None:
    player, (call,) = await play(store)
    await begin(player, call)
    later, _ = await play(store, 2)
    assert (await begin(later, call, ruled(DENIED))).verdict is Verdict.RUN


async def test_a_call_in_doubt_whose_result_comes_after_all_waits_for_nobody(store: Store) -> None:
    player, (call,) = await play(store)
    await begin(player, call, side_effect=SideEffect.EXTERNAL)
    later, _ = await play(store, 2)
    await begin(later, call, side_effect=SideEffect.EXTERNAL)
    await later.report(call, "mailed")
    assert (await later.level()).approval_pending == []
    assert (await begin(later, call, side_effect=SideEffect.EXTERNAL)).verdict is Verdict.RECORDED


@pytest.mark.requirement("OBJ-2")
async def test_the_result_of_a_policy_session_lists_what_rules_did_not_allow(store: Store) -> None:
    player = await a_player(store, type="Policy")
    await store.pin_turn(player.pod)
    (call,) = call_ids(await player.ask(an_answer("", "shell")))
    await begin(player, call, ruled(ALLOWED, DENIED))
    await player.commit(1, Outcome.CONTINUE)
    await store.pin_turn(player.pod)
    await player.ask(an_answer("I found little."), "d2")
    assert (await player.level()).result == (
        "Policy violations: 1\n- step 1, shell: Deny by rule no-shell of baseline: no shells here\n\nI found little."
    )
