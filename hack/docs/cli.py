"""Write docs/cli.md from the command line itself: `python hack/docs/cli.py [--check]`."""

import inspect
import sys
from collections.abc import Iterator
from enum import EnumType
from typing import Any, Final, get_args

from agentsessions.cli.identity import ACCOUNT, commands
from agentsessions.cli.main import load, shared_params
from agentsessions.cli.table import SECTIONS, Verb
from hack.generated import REPAIR, ROOT, write_or_check

TARGET: Final = ROOT / "docs" / "cli.md"
SHARED: Final = frozenset(param.name for param in shared_params())

INTRODUCTION: Final = f"""\
# The command line

<!-- generated from operator/agentsessions/cli by `{REPAIR}`; do not edit -->

`kubectl agentsession`, or `agentsession` by itself. A `SESSION` is a name, `@latest` for the newest session of the
namespace, or what `-o name` prints. Verbs that read the journal (`logs`, `steps`, `messages`, `replay`, `diff`,
`verify`, `export`) also take a uid, and work when the pods, and the session itself, are gone.

- **Where to.** Objects are read and changed at the API server of the kubeconfig, as kubectl does: `KUBECONFIG`,
  `--context`, tokens, certificates and credential plugins work alike. The journal is read at the gateway, through a
  port-forward that lasts as long as the command, or at the address that `--gateway` gives.
- **Who you are.** The gateway takes the kubeconfig's bearer token. A user with a client certificate, as kind's admin,
  has none: for them a token of a service account is asked for, `{ACCOUNT}` in the session's namespace, or the one
  that `--as-account` names; it lives ten minutes, in memory alone. Make one with

  ```
  {commands("NAMESPACE")[0]}
  {commands("NAMESPACE")[1]}
  ```

  It may then do at the gateway what its role says. `kubectl agentsession doctor` checks this and all else.
- **Output.** `-o json`, `-o yaml`, `-o name`, `-o wide` where they make sense. Colours on a terminal alone (`NO_COLOR`
  turns them off). A terminal is shown the columns that it has room for, `-o wide` all; nothing is cut in what a program
  reads. What models say cannot move the cursor.
- **Exit codes.** 0 done; 1 it failed; 2 the command makes no sense; 124 not within `--timeout`; 130 after Ctrl-C.
  Errors are one sentence on standard error; `AGENTSESSIONS_DEBUG=1` shows where an unexpected one came from.
- **Completion.** kubectl completes verbs, options and names of sessions, once its own completion is set up:
  `kubectl_complete-agentsession` comes with the program. For `agentsession` alone: `agentsession --install-completion`.
"""


def render() -> str:
    """Return the page."""
    parts = [INTRODUCTION, "## Options of every verb\n", *_table(shared_params())]
    for title, verbs in SECTIONS.items():
        parts.append(f"## {title}\n")
        parts += [
            "| verb | what |\n|---|---|",
            *(f"| [{one.name}](#{one.name}) | {one.summary} |" for one in verbs),
            "",
        ]
        for verb in verbs:
            parts += _verb(verb)
    return "\n".join(parts)


def _verb(verb: Verb) -> Iterator[str]:
    command = load(verb)
    yield f"### {verb.name}\n"
    inner = getattr(command, "commands", None)
    if inner is None:
        yield from _command(verb.name, command)
        return
    yield f"{command.help}\n"
    for name, one in inner.items():
        yield f"#### {verb.name} {name}\n"
        yield from _command(f"{verb.name} {name}", one)


def _command(path: str, command: Any) -> Iterator[str]:
    own = [param for param in command.params if param.name not in SHARED and not getattr(param, "hidden", False)]
    arguments = [param for param in own if param.param_type_name == "argument"]
    words = " ".join(_word(param) for param in arguments)
    yield f"```\nkubectl agentsession {path}{f' {words}' if words else ''} [options]\n```\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"
    yield from _table(own)


def _word(param: Any) -> str:
    name = param.metavar or param.name.upper()
    return name if param.required or name.startswith("[") else f"[{name}]"


def _table(params: list[Any]) -> Iterator[str]:
    rows = [_row(param) for param in params]
    if rows:
        yield "| | |\n|---|---|"
        yield from rows
        yield ""


def _words(param: Any) -> list[str]:
    """Return the words that an option takes, where it takes no other."""
    found = getattr(getattr(param, "type_descriptor", None), "annotation", None)
    found = next(iter(get_args(found)), found)  # list[Word]
    return [str(one.value) for one in found] if isinstance(found, EnumType) else []


def _row(param: Any) -> str:
    if param.param_type_name == "argument":
        shown = f"`{param.metavar or param.name.upper()}`"
    else:
        shown = ", ".join(f"`{name}`" for name in sorted(param.opts, key=len))
    notes = [param.help or ""]
    if words := _words(param):
        notes[0] += f" One of {', '.join(words)}."
    default = param.default
    if isinstance(default, str | int | float) and not isinstance(default, bool):
        notes.append(f"Default `{default}`.")
    if envvar := getattr(param, "envvar", None):
        notes.append(f"Or `{envvar}`.")
    return f"| {shown} | {' '.join(filter(None, notes))} |".replace("\n", " ")


if __name__ == "__main__":
    sys.exit(write_or_check({TARGET: render()}, "the verbs"))
