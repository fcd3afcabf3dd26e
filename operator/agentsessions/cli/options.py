"""Options and arguments that verbs share, and how a verb finds what they said."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from agentsessions.cli.connection import Connection

KEY: Final = "agentsessions"


class Output(StrEnum):
    """Form of the output."""

    WIDE = "wide"
    NAME = "name"
    JSON = "json"
    YAML = "yaml"


class DataOutput(StrEnum):
    """Form of output that has no wide table and no names."""

    JSON = "json"
    YAML = "yaml"


def remember(context: typer.Context, param: typer.CallbackParam, value: Any) -> Any:
    """Keep a shared option for `connect` (a typer callback)."""
    given = context.meta.setdefault(KEY, {})
    if value is not None and param.name:
        given[param.name] = value
    return value


def complete_session(context: typer.Context, incomplete: str) -> list[str]:
    """Return names of sessions that begin so (for shell completion); nothing when the cluster does not answer."""
    from agentsessions.cli.completion import session_names  # noqa: PLC0415  # only when a shell asks

    return session_names(context.meta.get(KEY, {}), incomplete)


def _shared(help_: str, *names: str, envvar: str | None = None) -> Any:
    return typer.Option(*names, help=help_, envvar=envvar, callback=remember)


NAMESPACE: Final = _shared("Namespace; by default the context's.", "-n", "--namespace")
CONTEXT: Final = _shared("Context of the kubeconfig.", "--context")
KUBECONFIG: Final = _shared("Kubeconfig file; by default as kubectl.", "--kubeconfig")
GATEWAY: Final = _shared(
    "Address of the gateway; by default a port-forward.", "--gateway", envvar="AGENTSESSIONS_GATEWAY"
)
GATEWAY_CA: Final = _shared("File with the gateway's CA.", "--gateway-ca", envvar="AGENTSESSIONS_GATEWAY_CA")
AS_ACCOUNT: Final = _shared(
    "Service account (namespace/name) to be at the gateway.", "--as-account", envvar="AGENTSESSIONS_AS_ACCOUNT"
)
SYSTEM_NAMESPACE: Final = _shared(
    "Namespace of the product; agentsessions-system by default.",
    "--system-namespace",
    envvar="AGENTSESSIONS_SYSTEM_NAMESPACE",
)


def shared(
    namespace: Annotated[str | None, NAMESPACE] = None,
    context: Annotated[str | None, CONTEXT] = None,
    kubeconfig: Annotated[str | None, KUBECONFIG] = None,
    gateway: Annotated[str | None, GATEWAY] = None,
    gateway_ca: Annotated[str | None, GATEWAY_CA] = None,
    as_account: Annotated[str | None, AS_ACCOUNT] = None,
    system_namespace: Annotated[str | None, SYSTEM_NAMESPACE] = None,
) -> None:
    """Take the options that every verb has."""


def connect(context: typer.Context) -> "Connection":
    """Return the cluster that the user means; it is left in good order when the command ends."""
    from agentsessions.cli.connection import Connection, Given  # noqa: PLC0415  # `--help` connects to nothing

    connection = Connection(Given(**context.meta.get(KEY, {})))
    context.find_root().call_on_close(connection.close)
    return connection


SessionArgument = Annotated[
    str, typer.Argument(metavar="SESSION", help="Name of a session, or @latest.", autocompletion=complete_session)
]
RecordArgument = Annotated[
    str,
    typer.Argument(
        metavar="SESSION",
        help="Name or uid of a session, also of a deleted one, or @latest.",
        autocompletion=complete_session,
    ),
]
OutputOption = Annotated[Output | None, typer.Option("-o", "--output", help="Form of the output.")]
DataOption = Annotated[DataOutput | None, typer.Option("-o", "--output", help="Form of the output.")]
EverywhereOption = Annotated[bool, typer.Option("-A", "--all-namespaces", help="All namespaces.")]
TimeoutOption = Annotated[str, typer.Option("--timeout", help="How long at most: 90s, 5m; 0 is without limit.")]
