"""The program as a whole against a scripted API server: exit codes, forms of output, one sentence for each error."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from agentsessions.cli.main import UNINSTALLED
from tests.unit.cli.conftest import Run, listed, resource
from tests.unit.client.script_server import Answer, Asked, ScriptServer

FORBIDDEN = Answer(403, {"kind": "Status", "reason": "Forbidden", "message": "User bob cannot list agentsessions."})


def watched(*events: tuple[str, dict[str, object]]) -> bytes:
    return b"".join(json.dumps({"type": type_, "object": thing}).encode() + b"\n" for type_, thing in events)


def play(*states: dict[str, object] | None, then: tuple[tuple[str, dict[str, object]], ...] = ()) -> object:
    """Answer each GET of the session with the next state (None is 404), and each watch with `then`."""
    left = list(states)

    def answer(asked: Asked) -> Answer:
        if "watch=true" in asked.path:
            return Answer(body=watched(*then))
        state = left.pop(0) if len(left) > 1 else left[0]
        if state is None:
            return Answer(404, {"kind": "Status", "reason": "NotFound", "message": "not found"})
        return Answer(body=state)

    return answer


def test_list_prints_a_table_without_colour(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(body=listed(resource("done", "Completed"), resource("hello", "Running")))]
    done = run("list")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["NAME", "PHASE"], ["hello", "Running"], ["done", "Completed"],
    ]  # fmt: skip
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("words", [("list", "-n", "other"), ("-n", "other", "list")], ids=["behind", "in front"])
def test_namespace_may_stand_before_the_verb_or_behind(server: ScriptServer, run: Run, words: tuple[str, ...]) -> None:
    server.script = [Answer(body=listed())]
    assert run(*words).stderr == "no sessions in namespace other\n"
    assert "/namespaces/other/agentsessions" in server.asked[0].path


def test_output_is_json_yaml_or_names(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(body=listed(resource()))]
    assert json.loads(run("list", "-o", "json").stdout)["items"][0]["metadata"]["name"] == "hello"
    assert "name: hello" in run("list", "-o", "yaml").stdout
    assert run("list", "-o", "name").stdout == "agentsession/hello\n"


def test_latest_is_the_youngest_session(server: ScriptServer, run: Run) -> None:
    young = resource("young", metadata={"creationTimestamp": "2026-11-02T11:00:00Z"})
    server.answer = lambda asked: Answer(
        body=young if asked.path.endswith("/young") else listed(resource("old"), young)
    )
    done = run("get", "@latest")
    assert "demo/young" in done.stdout, done.stderr


def test_latest_of_nothing_is_told(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(body=listed())]
    done = run("get", "@latest")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: namespace 'demo' has no session")


def test_refusal_is_one_sentence(server: ScriptServer, run: Run) -> None:
    server.script = [FORBIDDEN]
    done = run("list")
    assert (done.returncode, done.stderr) == (1, "error: User bob cannot list agentsessions.\n")


def test_cluster_without_the_product_is_told(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(404, b"404 page not found\n")]
    assert "does not know agentsessions: install the product" in run("list").stderr


def test_server_that_does_not_answer_is_told(run: Run, tmp_path: Path) -> None:
    config = json.loads((tmp_path / "config").read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    (tmp_path / "config").write_text(json.dumps(config))
    done = run("list")
    assert done.returncode == 1
    assert done.stderr.startswith("error: the API server at http://127.0.0.1:1 does not answer")


@pytest.mark.parametrize(
    "words",
    [("lst",), ("list", "--nope"), ("get",), ("wait", "x", "--for", "Done"), ("wait", "x", "--timeout", "soon")],
    ids=["no such verb", "no such option", "argument missing", "no such phase", "no length of time"],
)
def test_usage_errors_have_exit_code_2(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_mistyped_verb_is_answered_with_one_that_is_alike(run: Run) -> None:
    done = run("lsit")
    assert (done.returncode, "there is no verb 'lsit': did you mean `list`" in done.stderr) == (2, True)
    assert "did you mean" not in run("xyzzy").stderr


def test_version_is_printed_also_where_nothing_is_installed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [place for place in sys.path if not list(Path(place).glob("agentsessions*-info"))])
    assert run("--version").stdout == f"{UNINSTALLED}\n"
    (tmp_path / "agentsessions-9.8.7.dist-info").mkdir()
    (tmp_path / "agentsessions-9.8.7.dist-info" / "METADATA").write_text("Name: agentsessions\nVersion: 9.8.7\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, "9.8.7\n")


def test_wait_ends_once_the_phase_is_reached(server: ScriptServer, run: Run) -> None:
    server.answer = play(resource(), then=(("MODIFIED", resource(phase="Completed")),))  # type: ignore[assignment]
    done = run("wait", "hello")
    assert (done.returncode, done.stdout) == (0, "agentsession/hello is Completed\n"), done.stderr


def test_wait_for_what_cannot_come_any_more_fails(server: ScriptServer, run: Run) -> None:
    failed = resource(phase="Failed", status={"stopReason": "StepLimit"})
    server.answer = play(failed)  # type: ignore[assignment]
    done = run("wait", "hello", "--for", "completed")
    assert (done.returncode, done.stderr) == (1, "error: session 'hello' ended Failed (StepLimit)\n")


def test_wait_for_a_session_that_is_deleted_fails(server: ScriptServer, run: Run) -> None:
    server.answer = play(resource(), then=(("DELETED", resource()),))  # type: ignore[assignment]
    done = run("wait", "hello")
    assert done.returncode == 1
    assert "was deleted" in done.stderr


def test_wait_for_another_session_of_the_name_fails(server: ScriptServer, run: Run) -> None:
    other = resource(metadata={"uid": "another"})
    server.answer = play(resource(), then=(("MODIFIED", other),))  # type: ignore[assignment]
    assert "was deleted" in run("wait", "hello").stderr


def test_wait_for_what_is_not_there_fails(server: ScriptServer, run: Run) -> None:
    server.answer = play(None)  # type: ignore[assignment]
    done = run("wait", "nobody")
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no session 'nobody' in namespace 'demo'")


def test_pause_patches_the_very_session(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(body=resource())]
    done = run("pause", "hello", "--now")
    assert done.returncode == 0, done.stderr
    patch = server.asked[-1].json()
    assert patch["metadata"] == {"uid": "uid-hello"}
    assert patch["spec"] == {"operatingMode": "Paused", "pausePolicy": {"boundary": "Immediate"}}


def test_finished_session_cannot_be_paused(server: ScriptServer, run: Run) -> None:
    server.script = [Answer(body=resource(phase="Completed"))]
    done = run("pause", "hello")
    assert done.returncode == 1
    assert "is Completed, which is final" in done.stderr


def test_create_sends_what_the_flags_say(server: ScriptServer, run: Run) -> None:
    server.answer = lambda asked: Answer(
        201, {**asked.json(), "metadata": {**asked.json()["metadata"], "namespace": "demo"}}
    )
    done = run("create", "hello", "--goal", "Say hello.", "--max-steps", "2")
    assert (done.returncode, done.stdout) == (0, "agentsession/hello\n")
    assert "kubectl agentsession logs -f hello -n demo" in done.stderr
    assert server.asked[0].json()["spec"] == {"goal": "Say hello.", "limits": {"maxSteps": 2}}


def test_create_from_a_manifest_lets_flags_win(server: ScriptServer, run: Run) -> None:
    manifest = "kind: AgentSession\nmetadata: {name: mine, namespace: there}\nspec: {goal: One., title: T}\n"
    server.answer = lambda asked: Answer(201, asked.json())
    done = run("create", "-f", "-", "--goal", "Two.", stdin=manifest)
    assert done.returncode == 0, done.stderr
    assert server.asked[0].path.startswith("/apis/agentsessions.dev/v1alpha1/namespaces/there/agentsessions")
    assert server.asked[0].json()["spec"] == {"goal": "Two.", "title": "T"}


@pytest.mark.parametrize(
    ("stdin", "says"),
    [
        ("kind: Pod\n", "must hold one AgentSession and has Pod"),
        ("a: [", "cannot be read as YAML (NotYAML): line"),
        ("", "has nothing"),
    ],
)
def test_manifest_that_is_none_is_refused(run: Run, stdin: str, says: str) -> None:
    done = run("create", "-f", "-", stdin=stdin)
    assert done.returncode == 2
    assert says in done.stderr


def test_dry_run_prints_a_manifest_and_asks_nobody(server: ScriptServer, run: Run) -> None:
    done = run("create", "hello", "--goal", "Say hello.", "--dry-run")
    assert done.stdout.startswith("apiVersion: agentsessions.dev/v1alpha1\nkind: AgentSession\n")
    assert server.asked == []


def test_certificate_user_is_told_which_account_to_make(server: ScriptServer, run: Run, tmp_path: Path) -> None:
    config = json.loads((tmp_path / "config").read_text())
    config["users"][0]["user"] = {}
    (tmp_path / "config").write_text(json.dumps(config))
    missing = Answer(
        404, {"kind": "Status", "reason": "NotFound", "message": 'serviceaccounts "agentsessions-cli" not found'}
    )
    server.answer = lambda asked: missing if asked.path.endswith("/token") else Answer(body={"kind": "Namespace"})
    done = run("steps", "hello", "--gateway", "https://127.0.0.1:1")
    assert done.returncode == 1
    assert "kubectl create serviceaccount agentsessions-cli -n demo" in done.stderr
    server.answer = lambda _: missing
    assert "there is no namespace demo" in run("steps", "hello", "--gateway", "https://127.0.0.1:1").stderr


def recorded(**spec: object) -> dict[str, object]:
    """Return a session as the gateway tells of it."""
    counters = ("steps", "inputTokens", "outputTokens", "totalTokens", "toolCalls", "costMicroUSD", "turns")
    return {
        "uid": "u1",
        "namespace": "demo",
        "name": "hello",
        "type": "Custom",
        "mode": "FullAutonomy",
        "role": "Worker",
        "goal": "g",
        "operatingMode": "Running",
        "phase": "Completed",
        "limits": {},
        "head": 9,
        "usage": dict.fromkeys(counters, 0),
        "createdAt": "2026-11-01T12:00:00Z",
        "spec": {"goal": "g", "owner": "me", **spec},
    }


def made_by(server: ScriptServer, run: Run, *words: str, **spec: object) -> dict[str, object]:
    """Return the spec of what a command line creates from session `hello`."""
    server.answer = lambda asked: Answer(201, asked.json()) if asked.method == "POST" else Answer(body=recorded(**spec))
    done = run(*words, "--gateway", server.url)
    assert done.returncode == 0, done.stderr
    made: dict[str, object] = server.asked[-1].json()["spec"]
    return made


@pytest.mark.requirement("AG-7")
def test_clone_sends_the_spec_of_the_other_session_with_the_flags_on_top(server: ScriptServer, run: Run) -> None:
    words = ("clone", "hello", "again", "--at-step", "2", "--goal", "another", "--instructions", "Be brief.")
    assert made_by(server, run, *words, agents=[{"name": "a", "tools": [{"builtin": "Shell"}]}]) == {
        "goal": "another",
        "agents": [{"name": "a", "tools": [{"builtin": "Shell"}], "instructions": "Be brief."}],
        "source": {"sessionRef": {"name": "hello", "uid": "u1"}, "atStep": 2},
    }


@pytest.mark.requirement("STEP-4")
def test_rerun_sends_a_replay(server: ScriptServer, run: Run) -> None:
    assert made_by(server, run, "rerun", "hello", "--run-tools", "--until", "3", conversation={"open": True}) == {
        "goal": "g",
        "replay": {
            "of": {"name": "hello", "uid": "u1"},
            "mode": "Recorded",
            "tools": "RunInternal",
            "untilStep": 3,
        },
    }


def test_clone_and_rerun_refuse_flags_that_contradict_each_other(run: Run) -> None:
    for words in (("clone", "hello", "--reset", "--at-step", "1"), ("rerun", "hello", "--live", "--run-tools")):
        done = run(*words)
        assert (done.returncode, "leave out" in done.stderr) == (2, True)
