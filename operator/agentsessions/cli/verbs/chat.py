"""`chat`."""

import sys
from typing import Annotated, Any

import typer

from agentsessions.cli import newsession
from agentsessions.cli.connection import Connection
from agentsessions.cli.deadlines import deadline, to_seconds
from agentsessions.cli.failures import Failure, TimeoutFailure
from agentsessions.cli.newsession import InstructionsOption, ModelOption, NameOption, ProviderOption
from agentsessions.cli.options import TimeoutOption, complete_session, connect
from agentsessions.cli.sessions import is_final, phase_of
from agentsessions.cli.talking import Talk
from agentsessions.cli.terminal import clean, note, say
from agentsessions.cli.verbs.create import create_object

Json = dict[str, Any]
PROMPT = "> "
COMMANDS = "/quit or Ctrl-D leaves, /close ends the session, Ctrl-C breaks an answer off"


def chat(  # typer passes them by name
    ctx: typer.Context,
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="[SESSION]",
            help="Name of an open session, or @latest; without it a new one.",
            autocompletion=complete_session,
        ),
    ] = None,
    timeout: TimeoutOption = "5m",
    name: NameOption = None,
    model: ModelOption = None,
    provider: ProviderOption = None,
    instructions: InstructionsOption = None,
) -> None:
    """Talk with a session, a new one or one that is there.

    Each line is a message; the answer is printed as it is written. Ctrl-C breaks an answer off, not the chat. From a
    pipe each line is said in turn, and the exit code is 0 when all were answered, 1 when the session ended, 124 when an
    answer took longer than --timeout.
    """
    seconds = to_seconds(timeout)
    connection = connect(ctx)
    with deadline(seconds, f"the session was not reached within {timeout}"):
        if session is None:
            spec = newsession.build_spec(model=model, provider=provider, instructions=instructions, is_open=True)
            chosen = create_object(connection, newsession.build_manifest(name or newsession.name_from("chat"), spec))
            note(f"session {chosen['metadata']['name']} in namespace {connection.namespace}")
        else:
            chosen = _open(connection, session)
        talk = Talk(connection, chosen)
        past = talk.past()
    is_person = sys.stdin.isatty()
    if is_person:
        _show_past(past)
        note(COMMANDS)
    _converse(talk, seconds, timeout, is_person=is_person)


def _open(connection: Connection, session: str) -> Json:
    found = connection.session(session)
    if is_final(found):
        raise Failure(
            f"session {found['metadata']['name']!r} is {phase_of(found)}: it is over; begin another with "
            f"`kubectl agentsession chat -n {connection.namespace}`"
        )
    return found


def _show_past(past: list[Any]) -> None:
    for event in past:
        is_own = event.type == "message"
        say(f"{PROMPT if is_own else ''}{clean(event.text)}", "cyan" if is_own else None)


def _converse(talk: Talk, seconds: float, timeout: str, *, is_person: bool) -> None:
    if is_person:
        import readline  # noqa: F401, PLC0415  # its import gives `input` arrows and history
    while (text := _read(is_person=is_person)) is not None:
        match text.strip():
            case "":
                continue
            case "/quit":
                break
            case "/close":
                talk.close()
                break
            case said:
                _ask(talk, said, seconds, timeout, is_person=is_person)
    if is_person:
        note(f"talk on: kubectl agentsession chat {talk.name}")


def _read(*, is_person: bool) -> str | None:
    try:
        return input(PROMPT if is_person else "")
    except EOFError:
        return None
    except KeyboardInterrupt:
        if not is_person:
            raise
        note(f"\n{COMMANDS}")
        return ""


def _ask(talk: Talk, said: str, seconds: float, timeout: str, *, is_person: bool) -> None:
    try:
        with deadline(seconds, f"no answer within {timeout}; the message is stored, and its answer will be too"):
            talk.ask(said)
    except TimeoutFailure as failure:
        if not is_person:
            raise
        note(str(failure))
    except KeyboardInterrupt:
        if not is_person:
            raise
        talk.interrupt()
