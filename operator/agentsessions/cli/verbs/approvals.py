"""`approvals`, `approve`, `deny`, `settle`: calls that a person must decide, answered at the API server."""

from typing import Annotated, Any

import typer

from agentsessions.cli.connection import Connection
from agentsessions.cli.failures import Failure, UsageFailure
from agentsessions.cli.forms import print_data
from agentsessions.cli.kube import APPROVALS
from agentsessions.cli.options import DataOption, EverywhereOption, connect
from agentsessions.cli.terminal import age, clean, cut, note, one_line, print_table, say

Json = dict[str, Any]
HEADERS = ("NAME", "SESSION", "KIND", "TOOL", "ARGUMENTS", "OUTCOME", "AGE")
ARGUMENT_CHARACTERS = 48
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the approval, or of a session with one call that waits.")
]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Why, for people.")]


def approvals(
    ctx: typer.Context,
    is_everywhere: EverywhereOption = False,
    is_all: Annotated[bool, typer.Option("--all", help="Those that are decided, too.")] = False,
    output: DataOption = None,
) -> None:
    """List calls that wait for a person, and how to decide them."""
    connection = connect(ctx)
    namespace = None if is_everywhere else connection.namespace
    found, version = connection.kube.list_objects(APPROVALS, namespace)
    chosen = [one for one in found if is_all or not is_decided(one)]
    chosen.sort(key=lambda one: str(one["spec"]["request"]["askedAt"]))
    kind = {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": version}}
    if print_data({**kind, "items": chosen}, output):
        return
    if not chosen:
        note(f"no call waits {'anywhere' if is_everywhere else f'in namespace {namespace}'}")
        return
    headers = (("NAMESPACE",) if is_everywhere else ()) + HEADERS
    print_table(headers, [([one["metadata"]["namespace"]] if is_everywhere else []) + row(one) for one in chosen])
    if (first := next((one for one in chosen if not is_decided(one)), None)) is not None:
        for line in how_to_decide(first):
            note(line)


def approve(ctx: typer.Context, name: NameArgument, reason: ReasonOption = None) -> None:
    """Approve a call that waits for it."""
    decide(connect(ctx), name, {"answer": "Approve", "reason": reason})


def deny(ctx: typer.Context, name: NameArgument, reason: ReasonOption = None) -> None:
    """Deny a call that waits for approval; the model is told."""
    decide(connect(ctx), name, {"answer": "Deny", "reason": reason})


def settle(
    ctx: typer.Context,
    name: NameArgument,
    happened: Annotated[
        str | None, typer.Option("--happened", help="It happened, and this is its result for the model.")
    ] = None,
    is_to_run: Annotated[bool, typer.Option("--run-again", help="It did not happen: run it again.")] = False,
    reason: ReasonOption = None,
) -> None:
    """Say what became of a call in doubt: it happened, or it is to run again."""
    if (happened is None) is not is_to_run:
        raise UsageFailure("say --happened RESULT, or --run-again")
    answer = {"answer": "RunAgain"} if is_to_run else {"answer": "Happened", "output": happened}
    decide(connect(ctx), name, {**answer, "reason": reason})


def decide(connection: Connection, given: str, said: Json) -> None:
    """Write an answer under the user's own name, as the API server knows it."""
    found = find(connection, given)
    name, kind = found["metadata"]["name"], found["spec"]["request"]["kind"]
    if is_decided(found):
        raise Failure(f"approval {name!r} is decided already: {clean(str(found['status'].get('message') or ''))}")
    if (kind == "Doubt") is not (said["answer"] in {"Happened", "RunAgain"}):
        verbs = "`settle`" if kind == "Doubt" else "`approve` or `deny`"
        raise Failure(f"approval {name!r} is of kind {kind}: answer it with {verbs}")
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    me = connection.kube.request("POST", SELF, body=review)["status"]["userInfo"]["username"]
    answer = {key: value for key, value in said.items() if value is not None}
    body = {"metadata": {"uid": found["metadata"]["uid"]}, "spec": {"decisions": {me: answer}}}
    connection.kube.patch(APPROVALS, connection.namespace, name, body)
    say(f"sessionapproval/{name}: {clean(me)} says {said['answer']}")
    note(f"see what comes of it: kubectl agentsession logs -f {found['spec']['session']} -n {connection.namespace}")


def find(connection: Connection, given: str) -> Json:
    """Return the approval of a name, or the one call of a session that waits."""
    found = connection.kube.find(APPROVALS, connection.namespace, given)
    if found is not None:
        return found
    every = connection.kube.list_objects(APPROVALS, connection.namespace)[0]
    waiting = [one for one in every if one["spec"]["session"] == given and not is_decided(one)]
    if len(waiting) == 1:
        return waiting[0]
    if waiting:
        names = ", ".join(one["metadata"]["name"] for one in waiting)
        raise Failure(f"session {given!r} has {len(waiting)} calls that wait: name one of {names}")
    raise Failure(
        f"no approval and no waiting session is called {given!r} in namespace {connection.namespace}: "
        "`kubectl agentsession approvals` lists them"
    )


def is_decided(approval: Json) -> bool:
    """Whether it came to something."""
    return bool((approval.get("status") or {}).get("outcome"))


def row(approval: Json) -> list[str]:
    """Return an approval as a line of the list."""
    meta, request = approval["metadata"], approval["spec"]["request"]
    outcome = (approval.get("status") or {}).get("outcome") or "Waits"
    arguments = cut(one_line(clean(request["arguments"])), ARGUMENT_CHARACTERS)
    shown = (approval["spec"]["session"], request["kind"], clean(request["tool"]), arguments, outcome)
    return [meta["name"], *shown, age(request["askedAt"])]


def how_to_decide(approval: Json) -> list[str]:
    """Return the commands that decide a call."""
    meta, request = approval["metadata"], approval["spec"]["request"]
    where = f"{meta['name']} -n {meta['namespace']}"
    why = one_line(clean(str(request["message"])))
    if request["kind"] == "Doubt":
        ways = ("settle {} --happened RESULT", "settle {} --run-again")
    else:
        ways = ("approve {}", "deny {} --reason WHY")
    return [f"{meta['name']}: {why}", *(f"  kubectl agentsession {way.format(where)}" for way in ways)]
