"""Every verb of the command line on a real cluster: once as it should go, once as it most often goes wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commandline import ACCOUNT, CommandLine, a_place, let_speak
from tests.e2e.faults import until
from tests.e2e.product import ROOT, Json, Product
from tests.e2e.test_history import journal, lose

pytestmark = [pytest.mark.e2e, pytest.mark.requirement("OPS-5")]

LIST_FILES = {
    "when": {"step": 1, "text": "files"},
    "answer": {"toolCalls": [{"name": "shell", "arguments": {"command": "echo a-file"}}]},
}
TALK = {"answer": {"text": "You said: ${text}"}}
SLOW = {"when": {"text": "slow"}, "answer": {"text": "At last.", "delayMilliseconds": 60_000}}
LATER = {"when": {"text": "later"}, "answer": {"text": "Later.", "delayMilliseconds": 15_000}}
FAIL = {"when": {"text": "fail"}, "answer": {"error": {"status": 400, "message": "no such thing"}}}
NOBODY = "nobody-has-this-name"


@pytest.fixture(scope="module")
def cli(product: Product) -> Iterator[CommandLine]:
    """Return the command line in a namespace with a scripted model."""
    with a_place(product) as found:
        found.script(SLOW, LATER, FAIL, LIST_FILES, TALK, name="default")
        yield found


@pytest.fixture(scope="module")
def done(cli: CommandLine) -> str:
    """Return the name of a session that completed."""
    cli("run", "List the files.", "--follow", "--name", "files")
    return "files"


def test_create_prints_the_command_that_follows(cli: CommandLine) -> None:
    made = cli("create", "created", "--goal", "Say yes.", "--title", "A title", "--max-steps", "3")
    assert made.stdout == "agentsession/created\n"
    assert f"kubectl agentsession logs -f created -n {cli.namespace}" in made.stderr
    assert cli("wait", "created").stdout == "agentsession/created is Completed\n"
    spec = json.loads(cli("get", "created", "-o", "json").stdout)["spec"]
    assert (spec["title"], spec["limits"]) == ("A title", {"maxSteps": 3})
    assert "already exists" in cli.refused("create", "created", "--goal", "Say yes.")


def test_create_from_a_file_is_held_to_the_schema(cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "session.yaml"
    path.write_text(cli("create", "filed", "--goal", "Say yes.", "--dry-run").stdout)
    assert cli("create", "-f", str(path), "-o", "name").stdout == "agentsession/filed\n"
    path.write_text(path.read_text().replace("goal:", "aim:").replace("filed", "other"))
    assert 'unknown field "spec.aim"' in cli.refused("create", "-f", str(path))


def test_run_follows_and_its_exit_code_is_the_outcome(cli: CommandLine) -> None:
    good = cli("run", "List the files.", "--follow", "--timeout", "3m")
    assert "calls  shell" in good.stdout
    assert "gets   a-file" in good.stdout
    assert "Completed (GoalReached)" in good.stdout
    bad = cli("run", "fail", "--follow", "--timeout", "3m", code=1)
    assert "ended Failed" in bad.stderr


def test_run_gives_up_in_time_and_the_session_goes_on(cli: CommandLine) -> None:
    late = cli("run", "slow", "--follow", "--timeout", "5s", "--name", "late", code=124)
    assert "was not over within 5s; it goes on" in late.stderr
    assert "Cancelled" in cli("cancel", "late", "--wait", "--reason", "test").stdout


def test_list_and_get_show_what_there_is(cli: CommandLine, done: str) -> None:
    assert f"agentsession/{done}" in cli("list", "-o", "name").stdout.split()
    assert "Completed" in cli("list", "--phase", "completed", "-o", "wide").stdout
    assert cli.namespace in cli("list", "-A").stdout
    shown = cli("get", done).stdout
    assert f"Session:    {cli.namespace}/{done}" in shown
    assert "Phase:      Completed (GoalReached)" in shown
    assert f"there is no session '{NOBODY}'" in cli.refused("get", NOBODY)


def test_latest_is_the_newest(cli: CommandLine) -> None:
    cli("create", "newest", "--goal", "Say yes.")
    assert json.loads(cli("get", "@latest", "-o", "json").stdout)["metadata"]["name"] == "newest"
    cli("wait", "newest")


def test_what_a_session_did_can_be_read(cli: CommandLine, done: str) -> None:
    assert "says   You said:" in cli("logs", done).stdout
    assert "says   You said:" in cli("logs", "-f", done).stdout
    types = [json.loads(line)["type"] for line in cli("logs", done, "-o", "json").stdout.splitlines()]
    assert (types[0], types[-1]) == ("session_start", "done")
    assert [step["type"] for step in json.loads(cli("steps", done, "-o", "json").stdout)] == [
        "tool_call", "tool_result", "output",
    ]  # fmt: skip
    assert "tool_result" in cli("steps", done).stdout
    assert cli("verify", done).stdout.startswith("whole: ")
    replayed = cli("replay", done, "--speed", "0").stdout
    assert "── step 2" in replayed
    assert "── step 2" not in cli("replay", done, "--speed", "0", "--until", "1").stdout


@pytest.mark.parametrize("verb", ["logs", "steps", "messages", "verify", "replay", "export"])
def test_record_of_nobody_is_told(cli: CommandLine, verb: str) -> None:
    assert NOBODY in cli.refused(verb, NOBODY)


def test_record_outlives_the_session(cli: CommandLine) -> None:
    cli("run", "Say yes.", "--follow", "--name", "gone")
    uid = json.loads(cli("get", "gone", "-o", "json").stdout)["metadata"]["uid"]
    cli.product.kubectl("delete", "agentsession", "gone", "-n", cli.namespace)
    read = cli("logs", uid)
    assert "says   You said: Say yes." in read.stdout
    assert "there is no session 'gone'" in cli.refused("get", "gone")


def test_messages_are_sent_and_listed(cli: CommandLine, done: str) -> None:
    cli("create", "open", "--open")
    assert "is queued" in cli("send", "open", "Hello", "there").stdout
    answer = cli("send", "open", "--wait", "-", stdin="And you?").stdout
    assert answer == "You said: And you?\n"
    said = json.loads(cli("messages", "open", "-o", "json").stdout)
    assert ("user", "Hello there") in [(one["role"], one["content"]) for one in said]
    assert "answered" in cli("messages", "open").stdout
    assert "is Completed" in cli.refused("send", done, "Too late.") or "over" in cli.refused("send", done, "Too late.")
    cli("cancel", "open")


def test_chat_from_a_pipe_answers_each_line(cli: CommandLine, done: str) -> None:
    talked = cli("chat", "--name", "chat", "--timeout", "3m", stdin="One\nTwo\n/close\n")
    assert talked.stdout == "You said: One\nYou said: Two\n"
    assert cli("wait", "chat", "--timeout", "2m").stdout == "agentsession/chat is Completed\n"
    assert "it is over" in cli.refused("chat", done, stdin="Hello\n")


def test_chat_gives_up_on_an_answer_in_time(cli: CommandLine) -> None:
    assert "no answer within" in cli.refused("chat", "--name", "mute", "--timeout", "8s", stdin="slow\n", code=124)
    cli("cancel", "mute", "--wait")


def test_ctrl_c_breaks_an_answer_off_and_not_the_chat(cli: CommandLine, product: Product) -> None:
    with cli.at_terminal("chat", "--name", "broken-off") as terminal:
        terminal.type("later")
        product.wait_phase(cli.namespace, "broken-off", "Running")
        terminal.await_text("broken-off")
        terminal.interrupt()
        terminal.await_text("broken off: the session is paused")
        product.wait_phase(cli.namespace, "broken-off", "Paused")
        terminal.type("Hello again")
        terminal.await_text("You said: Hello again")
        terminal.type("/close")
        assert terminal.end() == 0
    cli("wait", "broken-off", "--timeout", "2m")


def test_session_is_paused_resumed_and_ended(cli: CommandLine, done: str) -> None:
    cli("create", "steered", "--goal", "slow", "--max-seconds", "600")
    cli("wait", "steered", "--for", "Running", "--timeout", "2m")
    assert "is Paused" in cli("pause", "steered", "--now", "--wait").stdout
    assert "resume steered" in cli("get", "steered").stdout
    assert "asked to be Running" in cli("resume", "steered", "--wait").stdout
    assert "is Cancelled" in cli("shutdown", "steered", "--force", "--reason", "enough", "--wait").stdout
    for verb in ("pause", "resume", "cancel", "shutdown"):
        assert "is Completed, which is final" in cli.refused(verb, done)
        assert f"there is no session '{NOBODY}'" in cli.refused(verb, NOBODY)


def test_calls_that_wait_are_listed_and_decided(cli: CommandLine, product: Product) -> None:
    rule = {"name": "careful", "tools": ["shell"], "action": "Ask", "message": "a person looks at it first"}
    selector = {"matchLabels": {"asks": "first"}}
    spec = {"rules": [rule], "selector": selector}
    product.apply(cli.namespace, an_object("AgentPolicy", "careful", spec))
    for name in ("granted", "refused"):
        session = an_object("AgentSession", name, {"goal": "List the files."}, labels={"asks": "first"})
        cli("create", "-f", "-", stdin=json.dumps(session))
    for name in ("granted", "refused"):
        cli("wait", name, "--for", "Waiting", "--timeout", "2m")
        assert "kubectl agentsession approvals" in cli("get", name).stdout
    listed = cli("approvals")
    assert "echo a-file" in listed.stdout
    assert "a person looks at it first" in listed.stderr
    assert "is of kind Approval" in cli.refused("settle", "granted", "--run-again")
    assert "says Approve" in cli("approve", "granted").stdout
    assert "says Deny" in cli("deny", "refused", "--reason", "not today").stdout
    for name, told in (("granted", "gets   a-file"), ("refused", "not today")):
        cli("wait", name, "--timeout", "2m")
        assert told in cli("logs", name).stdout
        assert "no approval and no waiting session" in cli.refused("approve", name)
        assert "no approval and no waiting session" in cli.refused("deny", name)
    assert "Approved" in cli("approvals", "--all").stdout


def an_object(kind: str, name: str, spec: Json, **metadata: object) -> Json:
    """Return an object of ours."""
    about = {"name": name, **metadata}
    return {"apiVersion": "agentsessions.dev/v1alpha1", "kind": kind, "metadata": about, "spec": spec}


def test_raised_limit_lets_a_session_go_on(cli: CommandLine) -> None:
    manifest = cli(
        "create", "limited", "--goal", "List the files.", "--max-steps", "1", "--dry-run", "-o", "json"
    ).stdout
    spec = json.loads(manifest)
    spec["spec"]["limits"]["onLimit"] = {"default": "Pause"}
    cli("create", "-f", "-", stdin=json.dumps(spec))
    cli("wait", "limited", "--for", "Paused", "--timeout", "2m")
    assert "limits set limited --max-steps" in cli("get", "limited").stdout
    assert cli("limits", "set", "limited", "--max-steps", "5").stdout == "agentsession/limited: maxSteps 5\n"
    cli("wait", "limited", "--timeout", "2m")
    assert "5" in cli("limits", "show", "limited").stdout
    assert "nothing to set" in cli.refused("limits", "set", "limited", code=2)


def test_limits_of_nobody_and_of_what_is_over_are_refused(cli: CommandLine, done: str) -> None:
    assert NOBODY in cli.refused("limits", "show", NOBODY)
    assert "is Completed, which is final" in cli.refused("limits", "set", done, "--max-steps", "5")


def test_namespace_is_held_and_released(product: Product, namespace: str) -> None:
    let_speak(product, namespace)
    cli = CommandLine(product, namespace)
    assert "is held" in cli("emergency-stop", "--reason", "a drill").stdout
    cli("create", "held", "--goal", "Say yes.")
    assert "was not Completed within" in cli.refused("wait", "held", "--timeout", "3s", code=124)
    assert "is released" in cli("emergency-stop", "--release").stdout
    cli("wait", "held", "--timeout", "3m")


def test_stop_is_refused_to_who_may_not(cli: CommandLine, tmp_path: Path) -> None:
    config = kubeconfig_of(cli, ACCOUNT, tmp_path)
    assert "cannot create resource" in cli.refused("emergency-stop", "--kubeconfig", config)
    assert cli("list", "--kubeconfig", config).returncode == 0


def kubeconfig_of(cli: CommandLine, account: str, folder: Path) -> str:
    """Write a kubeconfig with which one is a service account."""
    found = json.loads(cli.product.kubectl("config", "view", "--raw", "-o", "json").stdout)
    for user in found["users"]:
        user["user"] = {"token": cli.product.token_of(cli.namespace, account)}
    path = folder / "config"
    path.write_text(json.dumps(found))
    return str(path)


def test_watch_prints_each_change(cli: CommandLine) -> None:
    with cli.running("watch", "--timeout", "3m") as watching:
        cli("create", "watched", "--goal", "Say yes.")
        watching.await_line("watched  Running")
        watching.await_line("watched  Completed")
        watching.process.send_signal(signal.SIGINT)
        assert watching.end(20) == 0
    assert "watched for 1s" in cli.refused("watch", "--timeout", "1s", code=124)


def test_wait_tells_reached_from_failed_from_late(cli: CommandLine, done: str) -> None:
    assert cli("wait", done).returncode == 0
    assert f"session '{done}' ended Completed" in cli.refused("wait", done, "--for", "Failed")
    assert f"there is no session '{NOBODY}'" in cli.refused("wait", NOBODY)
    cli("create", "waited", "--goal", "slow")
    assert "was not Completed within 2s" in cli.refused("wait", "waited", "--timeout", "2s", code=124)
    assert "no phase" in cli.refused("wait", "waited", "--for", "Done", code=2)
    cli("cancel", "waited", "--wait")


def test_figures_are_shown(cli: CommandLine, done: str) -> None:
    assert "phase Completed" in cli("stats").stdout
    assert json.loads(cli("stats", "-o", "json", "--period", "24h").stdout)["metrics"]["sessions"] >= 1
    assert "--period soon" in cli.refused("stats", "--period", "soon", code=2)
    assert "active," in cli("top", "--once").stdout
    assert done


def test_sessions_are_compared(cli: CommandLine, done: str) -> None:
    cli("run", "Say yes.", "--follow", "--name", "otherwise")
    shown = cli("diff", done, "otherwise").stdout
    assert "changed" in shown
    assert "they did the same" in cli("diff", done, done).stdout
    assert NOBODY in cli.refused("diff", done, NOBODY)


def test_session_is_exported_lost_and_imported(cli: CommandLine, product: Product, tmp_path: Path) -> None:
    cli("run", "Say yes.", "--follow", "--name", "carried")
    uid = json.loads(cli("get", "carried", "-o", "json").stdout)["metadata"]["uid"]
    path = tmp_path / cli("export", "carried", cwd=tmp_path).stdout.strip()
    assert path.stat().st_size > 0
    assert "is there already" in cli.refused("export", "carried", "-f", str(path))
    assert "may not create agentsessions/import" in cli.refused("import", str(path))
    let_import(cli)
    assert "is not overwritten" in cli.refused("import", str(path))
    product.kubectl("delete", "agentsession", "carried", "-n", cli.namespace)
    with product.gateway() as gateway:
        until(lambda: "deletedAt" in gateway.get(f"/{uid}", namespace=cli.namespace), "its end is known")
    with journal(product) as database:
        lose(database, uid)
    assert uid in cli.refused("logs", uid)
    assert "carried: " in cli("import", str(path)).stdout
    assert "says   You said: Say yes." in cli("logs", uid).stdout
    path.write_bytes(b"nonsense")
    assert "Export the session again" in cli.refused("import", str(path))


def let_import(cli: CommandLine) -> None:
    """Give the account the right that no role of the product's but the administrator's has."""
    rule = {"apiGroups": ["agentsessions.dev"], "resources": ["agentsessions/import"], "verbs": ["create"]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "import"},
        "rules": [rule],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "import"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "import"},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": cli.namespace}],
    }
    cli.product.apply(cli.namespace, role, binding)


def test_doctor_says_what_is_well_and_what_to_do(cli: CommandLine, product: Product, namespace: str) -> None:
    assert "way to the gateway: answers through a port-forward" in cli("doctor").stdout
    other = CommandLine(product, namespace)
    sick = other("doctor", code=1).stdout
    assert f"do: kubectl create serviceaccount agentsessions-cli -n {namespace}" in sick
    found = json.loads(cli("doctor", "-o", "json").stdout)
    assert {one["level"] for one in found} <= {"ok", "look"}


def test_account_without_rights_is_refused_in_one_sentence(cli: CommandLine, done: str, tmp_path: Path) -> None:
    cli.product.apply(cli.namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stranger"}})
    assert "may not get agentsessions" in cli.refused("steps", done, "--as-account", "stranger")
    config = kubeconfig_of(cli, "stranger", tmp_path)
    for verb in ("list", "watch", "approvals"):
        assert "cannot list resource" in cli.refused(verb, "--kubeconfig", config)
    for verb in ("top", "stats"):
        assert "may not list agentsessions" in cli.refused(verb, "--as-account", "stranger")


def test_kubectl_finds_the_plugin(cli: CommandLine, done: str, tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-agentsession"
    plugin.write_text(f"#!{sys.executable}\nfrom agentsessions.cli.main import main\nmain()\n")
    plugin.chmod(0o755)
    environment = {**cli.environment, "PATH": f"{tmp_path}:{cli.environment['PATH']}"}
    command = [cli.product.kubectl_program, "agentsession", "get", done, "-n", cli.namespace, "-o", "name"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert found.stdout == f"agentsession/{done}\n"
