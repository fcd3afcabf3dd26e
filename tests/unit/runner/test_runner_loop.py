"""The turn loop, with the real SDK, real tools and a real connection."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web

from agentsessions.api import wire
from agentsessions.api.reasons import ErrorCode, ExitCode
from agentsessions.runner.errors import FencedError, GatewayError, LimitReachedError, PassingError, RefusedError
from agentsessions.runner.settings import Patience
from agentsessions.runner.tools.results import Result, Results
from tests.unit.runner.conftest import Runner
from tests.unit.runner.peer import GOAL, TOKEN, Answer, Hold, Peer, call, problem
from tests.unit.runner.processes import has_ended

CHAT_PATH = f"{wire.OPENAI_PATH}/chat/completions"
TWO_TOOLS = Answer(
    text="Let me look.",
    calls=(
        call("call-1", "shell", {"command": "echo shelf >> effects; cat effects"}),
        call("call-2", "files", {"operation": "write", "path": "report/out.txt", "content": "sprockets\n"}),
    ),
)


@pytest.mark.requirement("AG-1")
@pytest.mark.requirement("AG-2")
async def test_loop_plays_two_tools_and_then_the_result(runner: Runner, peer: Peer, folder: Path) -> None:
    peer.answers = {1: TWO_TOOLS, 2: Answer(text="Sprockets.")}

    assert await runner.run(peer) == ExitCode.DONE

    assert [(c.k, c.outcome) for c in peer.commits] == [(1, "continue"), (2, "final")]
    assert [b.call_id for b in peer.begun] == ["call-1", "call-2"]
    assert peer.recorded["call-1"].output == "shelf\n\n[exit code 0]"
    assert (folder / "report/out.txt").read_text() == "sprockets\n"
    assert {k: len(bodies) for k, bodies in peer.asked.items()} == {1: 1, 2: 1}
    assert peer.tokens_seen == {f"Bearer {TOKEN}"}


async def test_loop_sends_the_turn_and_nothing_of_its_own(runner: Runner, peer: Peer) -> None:
    await runner.run(peer)

    body = json.loads(peer.asked[1][0])
    assert body["messages"] == [{"content": "Be brief.", "role": "system"}, {"role": "user", "content": GOAL}]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["shell", "files"]
    assert body["max_tokens"] == 4000
    assert set(body) == {"messages", "model", "max_tokens", "stream", "stream_options", "tools"}


async def test_loop_offers_only_the_tools_of_the_turn(runner: Runner, peer: Peer) -> None:
    peer.tools = ()
    await runner.run(peer)
    assert "tools" not in json.loads(peer.asked[1][0])


@pytest.mark.requirement("AG-2")
async def test_loop_has_the_gateway_run_the_tools_that_are_not_its_own(runner: Runner, peer: Peer) -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}
    search = wire.ToolOffer(
        name="web__search", description="Search.", parameters=schema, side_effect=wire.SideEffect.EXTERNAL
    )
    peer.tools = (search,)
    peer.answers = {1: Answer(calls=(call("call-1", "web__search", {"q": "shelf"}),)), 2: Answer(text="Done.")}
    peer.failures[wire.TOOL_CALL_PATH].append(problem(503, "unavailable", retry_after="0.01"))

    assert await runner.run(peer) == ExitCode.DONE

    (offered,) = json.loads(peer.asked[1][0])["tools"]
    told = {"name": "web__search", "description": "Search.", "parameters": schema}
    assert offered["function"] | {"strict": False} == told | {"strict": False}
    assert [(c.call_id, json.loads(c.arguments)) for c in peer.called] == [("call-1", {"q": "shelf"})]
    assert not peer.begun, "what the gateway runs, it begins itself"
    assert not peer.recorded["call-1"].is_error
    assert "web__search answers" in peer.history[-1]["output"]


@pytest.mark.parametrize(
    ("control", "code"), [(wire.Control.PAUSE, ExitCode.PAUSED), (wire.Control.STOP, ExitCode.TERMINATED)]
)
async def test_loop_does_not_play_when_told_otherwise(
    runner: Runner, peer: Peer, control: wire.Control, code: ExitCode
) -> None:
    peer.control = control
    assert await runner.run(peer) == code
    assert not peer.asked


@pytest.mark.requirement("LIFE-4")
async def test_loop_pauses_at_the_boundary_and_a_fresh_runner_goes_on(runner: Runner, peer: Peer, folder: Path) -> None:
    peer.answers = {1: TWO_TOOLS, 2: Answer(text="Sprockets.")}
    hold = peer.hold("settle")
    playing = asyncio.create_task(runner.run(peer))
    await hold.reached.wait()
    peer.control = wire.Control.PAUSE
    peer.let_go()
    assert await playing == ExitCode.PAUSED

    peer.control = wire.Control.GO
    assert await runner.run(peer) == ExitCode.DONE
    assert (folder / "effects").read_text() == "shelf\n"


async def test_loop_has_nothing_to_do_after_the_last_turn(runner: Runner, peer: Peer) -> None:
    assert await runner.run(peer) == ExitCode.DONE
    assert await runner.run(peer) == ExitCode.DONE
    assert len(peer.commits) == 1


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        pytest.param(412, "stale_epoch", FencedError, id="a newer epoch plays"),
        pytest.param(402, "step_limit", LimitReachedError, id="a limit is reached"),
        pytest.param(403, "forbidden", RefusedError, id="a policy refuses"),
        pytest.param(404, "not_found", GatewayError, id="anything else is final"),
    ],
)
@pytest.mark.parametrize("path", [wire.TURN_PATH, wire.COMMIT_PATH, wire.TOOL_BEGIN_PATH, wire.TOOL_SETTLE_PATH])
async def test_loop_ends_on_final_answers_of_runner_routes(
    runner: Runner, peer: Peer, path: str, status: int, code: str, error: type[Exception]
) -> None:
    peer.answers = {1: TWO_TOOLS, 2: Answer(text="Sprockets.")}
    peer.failures[path].append(problem(status, code))
    with pytest.raises(error, match=code):
        await runner.run(peer)
    if path != wire.COMMIT_PATH:
        assert len(peer.begun) <= 1, "no further tool starts"
    assert not peer.commits


@pytest.mark.requirement("LIFE-11")
@pytest.mark.parametrize("status", [425, 429, 503, 502])
@pytest.mark.parametrize(
    "path", [wire.TURN_PATH, wire.COMMIT_PATH, wire.TOOL_BEGIN_PATH, wire.TOOL_SETTLE_PATH, CHAT_PATH]
)
async def test_loop_waits_out_what_passes(runner: Runner, peer: Peer, folder: Path, path: str, status: int) -> None:
    peer.answers = {1: TWO_TOOLS, 2: Answer(text="Sprockets.")}
    peer.failures[path] += [problem(status, "unavailable", retry_after="0.01") for _ in range(3)]
    assert await runner.run(peer) == ExitCode.DONE
    assert [c.outcome for c in peer.commits] == ["continue", "final"]
    assert (folder / "effects").read_text() == "shelf\n"


async def test_loop_gives_up_when_patience_ends(runner: Runner, peer: Peer) -> None:
    peer.failures[wire.TURN_PATH] += [problem(503, "unavailable") for _ in range(100)]
    with pytest.raises(PassingError):
        await runner.run(peer, Patience(0.01, 0.01, 0.05))


async def test_loop_waits_for_a_gateway_that_does_not_listen(runner: Runner) -> None:
    gone = Peer({}, url="http://localhost:9")
    with pytest.raises(PassingError, match="ConnectError"):
        await runner.run(gone, Patience(0.01, 0.01, 0.05))


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        pytest.param(412, "session_cancelled", FencedError, id="the session was cancelled"),
        pytest.param(402, "token_limit", LimitReachedError, id="no tokens are left"),
    ],
)
async def test_loop_ends_without_commit_when_the_model_route_refuses(
    runner: Runner, peer: Peer, status: int, code: str, error: type[Exception]
) -> None:
    peer.failures[CHAT_PATH].append(problem(status, code))
    with pytest.raises(error):
        await runner.run(peer)
    assert not peer.commits


@pytest.mark.requirement("LIFE-10")
@pytest.mark.parametrize(
    ("status", "code", "want"),
    [
        pytest.param(429, "rate_limited", ErrorCode.RATE_LIMITED, id="the provider's rate limit"),
        pytest.param(503, "overloaded", ErrorCode.OVERLOADED, id="an overloaded provider"),
        pytest.param(400, "context_too_long", ErrorCode.CONTEXT_TOO_LONG, id="a context too long"),
        pytest.param(400, "invalid_request", ErrorCode.MODEL_ERROR, id="a refusal without a class"),
        pytest.param(403, "policy", ErrorCode.POLICY, id="a policy"),
    ],
)
async def test_loop_commits_a_failed_model_call(
    runner: Runner, peer: Peer, status: int, code: str, want: ErrorCode
) -> None:
    peer.failures[CHAT_PATH].append(problem(status, code))
    assert await runner.run(peer) == (ExitCode.REFUSED if want is ErrorCode.POLICY else ExitCode.ERROR)
    (commit,) = peer.commits
    assert commit.outcome == "error"
    assert commit.error is not None
    assert commit.error.code is want
    assert not peer.asked, "the client asked once, and no more"


@pytest.mark.requirement("LIFE-10")
async def test_loop_goes_on_when_the_gateway_answers_an_error_with_another_turn(runner: Runner, peer: Peer) -> None:
    peer.goes_on_after_errors = True
    peer.failures[CHAT_PATH].append(problem(400, "context_too_long"))
    peer.answers = {2: Answer(text="Sprockets.")}

    assert await runner.run(peer) == ExitCode.DONE

    assert [(c.k, c.outcome) for c in peer.commits] == [(1, "error"), (2, "final")]


@pytest.mark.parametrize(
    ("code", "want"),
    [("network", ErrorCode.NETWORK), ("empty_answer", ErrorCode.EMPTY_ANSWER), ("odd", ErrorCode.MODEL_ERROR)],
)
async def test_loop_commits_an_error_inside_the_stream(runner: Runner, peer: Peer, code: str, want: ErrorCode) -> None:
    peer.answers = {1: Answer(error={"message": "the provider's stream broke", "code": code})}
    assert await runner.run(peer) == ExitCode.ERROR
    assert peer.commits[0].error is not None
    assert peer.commits[0].error.code is want


async def test_loop_ends_on_a_limit_inside_the_stream(runner: Runner, peer: Peer) -> None:
    peer.answers = {1: Answer(error={"message": "too many calls", "code": "tool_call_limit"})}
    with pytest.raises(LimitReachedError):
        await runner.run(peer)
    assert not peer.commits


@pytest.mark.parametrize("answer", [Answer(text="Spro", is_cut=True), Answer(calls=TWO_TOOLS.calls, is_cut=True)])
async def test_loop_asks_again_when_an_answer_just_stops(
    runner: Runner, peer: Peer, folder: Path, answer: Answer
) -> None:
    peer.answers = {1: answer}
    hold = peer.hold("answer")
    playing = asyncio.create_task(runner.run(peer))
    await hold.reached.wait()
    peer.answers = {1: Answer(text="Sprockets.")}
    peer.let_go()
    assert await playing == ExitCode.DONE
    assert len(peer.asked[1]) == 2
    assert len(set(peer.asked[1])) == 1
    assert not (folder / "effects").exists()


@pytest.mark.parametrize(
    ("made", "text"),
    [
        pytest.param(call("c", "shell", '{"command": '), "not JSON", id="broken JSON"),
        pytest.param(call("c", "shell", {"cmd": "ls"}), "do not fit its schema", id="wrong arguments"),
        pytest.param(call("c", "shell", "[]"), "do not fit its schema", id="not an object"),
        pytest.param(call("c", "browser", {}), "there is no tool 'browser'", id="an unknown tool"),
        pytest.param(call("c", "x" * 65, {}), "there is no tool 'xxx", id="a name that is too long"),
        pytest.param(call("c", "files", {"operation": "read", "path": "../x"}), "leads out", id="a path that escapes"),
    ],
)
async def test_loop_reports_calls_that_cannot_run_and_goes_on(
    runner: Runner, peer: Peer, made: dict[str, str], text: str
) -> None:
    peer.answers = {1: Answer(calls=(made,)), 2: Answer(text="Sorry.")}
    assert await runner.run(peer) == ExitCode.DONE
    assert peer.recorded["c"].is_error
    assert text in peer.recorded["c"].output
    assert [c.outcome for c in peer.commits] == ["continue", "final"]


@pytest.mark.requirement("LIFE-11")
async def test_loop_reports_a_result_that_an_earlier_epoch_kept(runner: Runner, peer: Peer, folder: Path) -> None:
    peer.answers = {1: TWO_TOOLS, 2: Answer(text="Sprockets.")}
    kept = Result(output="kept", is_error=False, duration_milliseconds=7)
    Results(folder / ".agentsessions/results").save("call-1", kept)
    assert await runner.run(peer) == ExitCode.DONE
    assert peer.recorded["call-1"].output == "kept"
    assert peer.recorded["call-1"].duration_milliseconds == 7
    assert not (folder / "effects").exists()


@pytest.mark.requirement("LIFE-11")
async def test_loop_takes_a_recorded_result_without_running(runner: Runner, peer: Peer, folder: Path) -> None:
    peer.answers = {1: TWO_TOOLS, 2: Answer(text="Sprockets.")}
    recorded = wire.ToolSettle(call_id="call-1", output="recorded", duration_milliseconds=7)
    peer.recorded["call-1"] = recorded
    assert await runner.run(peer) == ExitCode.DONE
    assert peer.recorded["call-1"] is recorded
    assert not (folder / "effects").exists()
    assert '"recorded"' in peer.asked[2][0].decode()


async def test_loop_reads_the_token_anew_for_each_request(runner: Runner, peer: Peer, token_path: Path) -> None:
    peer.answers = {1: TWO_TOOLS, 2: Answer(text="Sprockets.")}
    hold = peer.hold("settle")
    playing = asyncio.create_task(runner.run(peer))
    await hold.reached.wait()
    peer.tokens_seen.clear()
    write_token(token_path, "rotated")
    peer.let_go()
    await playing
    assert peer.tokens_seen == {"Bearer rotated"}


@pytest.mark.requirement("LIFE-5")
async def test_loop_starts_nothing_more_when_cancelled_in_a_tool(runner: Runner, peer: Peer, folder: Path) -> None:
    command = f"echo $$ > pid; curl -s {peer.url}/running; sleep 600"
    peer.answers = {1: Answer(calls=(call("c1", "shell", {"command": command}), TWO_TOOLS.calls[1]))}
    playing = asyncio.create_task(runner.run(peer))
    await peer.tool_running.wait()
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    assert has_ended(folder / "pid")
    assert [b.call_id for b in peer.begun] == ["c1"]
    assert not peer.recorded
    assert not peer.commits


async def test_loop_starts_nothing_more_when_cancelled_in_a_model_call(
    runner: Runner, peer: Peer, folder: Path
) -> None:
    peer.answers = {1: TWO_TOOLS}
    hold = peer.hold("answer")
    playing = asyncio.create_task(runner.run(peer))
    await hold.reached.wait()
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    peer.let_go()
    assert not peer.begun
    assert not (folder / "effects").exists()


def write_token(path: Path, token: str) -> None:
    path.write_text(token)


@pytest.mark.requirement("LIFE-8")
async def test_loop_asks_again_for_what_it_is_to_wait_for(runner: Runner, peer: Peer) -> None:
    peer.control = wire.Control.WAIT
    hold = peer.hold("turn")
    running = asyncio.create_task(runner.run(peer))
    await hold.reached.wait()
    for _ in range(3):
        hold, before = Hold(), hold
        peer.holds["turn"] = hold
        before.released.set()
        await hold.reached.wait()
    assert not peer.asked
    peer.control = wire.Control.GO
    peer.let_go()
    assert await running == ExitCode.DONE
    assert len(peer.commits) == 1


@pytest.mark.requirement("LIFE-8")
async def test_loop_ends_as_idle_when_its_epoch_is_closed_so(runner: Runner, peer: Peer) -> None:
    peer.control = wire.Control.IDLE
    assert await runner.run(peer) == ExitCode.IDLE
    assert not peer.asked


async def test_loop_waits_out_a_gateway_that_is_away_while_it_waits(runner: Runner, peer: Peer) -> None:
    wait = web.json_response(peer.turn().model_copy(update={"control": wire.Control.WAIT}).to_json())
    peer.failures[wire.TURN_PATH] += [wait, problem(503, "unavailable"), problem(425, "not_fenced")]
    assert await runner.run(peer) == ExitCode.DONE


async def test_loop_commits_the_turn_of_its_round(runner: Runner, peer: Peer) -> None:
    peer.round = 7
    await runner.run(peer)
    assert [(commit.round, commit.k) for commit in peer.commits] == [(7, 1)]
