"""The program: finds the verb, runs it, and turns whatever goes wrong into one sentence and an exit code."""

import importlib
import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from agentsessions.cli.failures import FAILED, INTERRUPTED, TIMED_OUT, USAGE, Failure, UsageFailure
from agentsessions.cli.options import shared
from agentsessions.cli.table import SECTIONS, VERBS, Verb

DEBUG: Final = "AGENTSESSIONS_DEBUG"
SHORT_HELP: Final = {"help_option_names": ["-h", "--help"]}
BROKEN_PIPE: Final = 141
UNINSTALLED: Final = "unreleased"
"""Version of a checkout that nobody installed."""
_PLUGIN: Final = "kubectl-"
_NOISE: Final = "Value error, "
"""What typer puts in front of its own sentence about a value."""


class Verbs(TyperGroup):
    """The verbs, each loaded when it is needed."""

    def __init__(self, *args: Any, **words: Any) -> None:
        super().__init__(*args, **words)
        self.commands = {name: TyperCommand(name, help=verb.summary) for name, verb in VERBS.items()}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a verb, or None."""
        del ctx  # its parent needs it
        verb = VERBS.get(cmd_name)
        return None if verb is None else load(verb)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the verb that the words begin with.

        Raises:
            UsageFailure: There is none; it names one that is spelled alike.
        """
        if args and args[0] not in VERBS:
            from difflib import get_close_matches  # noqa: PLC0415  # only for who mistyped

            alike = " or ".join(f"`{word}`" for word in get_close_matches(args[0], VERBS, n=2))
            meant = f"did you mean {alike}? " if alike else ""
            raise UsageFailure(f"there is no verb {args[0]!r}: {meant}`{program_name()} --help` lists all")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of verbs, without loading one."""
        del ctx  # its parent needs it
        for title, verbs in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(verb.name, verb.summary) for verb in verbs])


def load(verb: Verb) -> Any:
    """Return the command of a verb, with the options that all have."""
    module, _, name = verb.place.partition(":")
    found = getattr(importlib.import_module(f"agentsessions.cli.verbs.{module}"), name)
    if isinstance(found, typer.Typer):
        group: Any = get_command(found)
        group.name = verb.name
        for inner in group.commands.values():
            inner.params += shared_params()
        return group
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(verb.name, context_settings=SHORT_HELP)(found)
    command: Any = get_command(app)
    command.params += shared_params()
    return command


def shared_params() -> list[Any]:
    """Return the options that all verbs have; what they say is not passed on, `options.connect` finds it."""
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command()(shared)
    params = get_command(app).params
    for param in params:
        param.expose_value = False
    return [param for param in params if param.name != "help"]


def program() -> Any:
    """Return the whole command line."""
    app = typer.Typer(
        cls=Verbs, rich_markup_mode=None, add_completion=True, no_args_is_help=True, context_settings=SHORT_HELP
    )

    @app.callback()
    def root(
        is_version: Annotated[
            bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=show_version)
        ] = False,
    ) -> None:
        """Sessions of AI agents in Kubernetes.

        A SESSION is a name, or @latest for the newest one of the namespace.
        """

    command = get_command(app)
    command.params = shared_params() + command.params
    return command


def show_version(is_wanted: bool) -> None:
    """Print the version and end, if that is wanted (a typer callback)."""
    if is_wanted:
        from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # most commands do not ask

        try:
            found = version("agentsessions")
        except PackageNotFoundError:
            found = UNINSTALLED
        sys.stdout.write(f"{found}\n")
        raise typer.Exit


def main(words: list[str] | None = None) -> None:
    """Run the program and exit."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    code = run(sys.argv[1:] if words is None else words)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = code or BROKEN_PIPE
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes nowhere
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run one command line; return its exit code."""
    try:
        result = program().main(args=words, prog_name=program_name(), standalone_mode=False)
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        return explain(error)
    return result if isinstance(result, int) else 0


def explain(error: Exception) -> int:
    """Print a sentence about an error; return the exit code."""
    code, text = to_sentence(error)
    if text:
        sys.stderr.write(f"error: {text}\n")
    return code


def to_sentence(error: Exception) -> tuple[int, str]:
    """Return the exit code and the sentence of an error."""
    if isinstance(error, Failure):
        return error.exit_code, str(error)
    if isinstance(error, typer.Exit):
        return error.exit_code, ""
    if isinstance(error, typer.Abort):
        return INTERRUPTED, "stopped"
    if hasattr(error, "format_message"):  # typer's usage errors
        asked = getattr(error, "ctx", None)
        path = asked.command_path if asked is not None else program_name()
        return USAGE, f"{error.format_message().replace(_NOISE, '')} See `{path} --help`."
    if not type(error).__module__.startswith("agentsessions.client"):
        return FAILED, f"unexpected {type(error).__name__}: {error} (a bug; {DEBUG}=1 shows where)"
    return (TIMED_OUT if isinstance(error, TimeoutError) else FAILED), _of_client(error)


def _of_client(error: Exception) -> str:
    if getattr(error, "status", None) == 401:  # noqa: PLR2004  # HTTP's word for it
        return f"the gateway does not know you: {error}"
    return str(error)


def program_name() -> str:
    """Return how the user calls the program."""
    name = os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else ""  # noqa: PTH119  # no pathlib at start
    return f"kubectl {name.removeprefix(_PLUGIN)}" if name.startswith(_PLUGIN) else "agentsession"


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    main()
