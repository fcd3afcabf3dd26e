"""The proxy by hand."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .faults import FAULTS
from .kubeconfig import write_kubeconfig
from .program import Program, kill_pid
from .rules import Rule, RuleError, read_rule

if TYPE_CHECKING:
    from .proxy import Proxy, Record

NO_LIBRARY: Final = "{name} is not installed here: run `make venv`, then `.venv/bin/python hack/faults`"
EPILOG: Final = """\
A rule is JSON; what is left out does not matter:
  {"match": {"verbs": ["create"], "resource": "pods", "namespace": "default"},
   "at": 1, "times": 1, "fault": {"kind": "kill", "when": "after"}}
It counts the calls that match (without `verbs`: all that change something) and disturbs number `at`, `times` times.

  kill    when            the program dies (SIGKILL) before or after the API server acts; with PROGRAM it comes back
  answer  status, when,   refused: 409, 429, 500, ...; `when: after`: though the API server acted
          reason, retry_after
  delay   seconds         the call waits, then goes on
  cut     when            the connection breaks before or after the API server acts
  old-lists               the program dies, and its first lists when it is back are those of its last start
  lose                    with verb `event`: a watch breaks before event number `at`, and cannot go on from there (410)

example: kill the operator after its second status write was stored, before it learns so
  python3 hack/faults --kubeconfig "$(make -s cluster-kubeconfig)" \\
    --rule '{"match": {"resource": "agentsessions/status"}, "at": 2, "fault": {"kind": "kill", "when": "after"}}' \\
    -- agentsessions-operator
"""


def main(words: list[str]) -> int:
    """Serve until interrupted, or until the program ends; return the exit status."""
    options = _read_options(words)
    try:
        rules = _read_rules(options)
        return asyncio.run(_serve(options, rules))
    except (RuleError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(NO_LIBRARY.format(name=error.name), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _read_options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 hack/faults",
        description="A proxy before the API server: disturbs calls by rules, and prints those that change something.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--kubeconfig", help="of the cluster (default: $KUBECONFIG, the pod's account, ~/.kube/config)")
    parser.add_argument("--port", type=int, default=0, help="on 127.0.0.1 (default: a free one)")
    parser.add_argument("--rule", action="append", default=[], metavar="JSON", help="one rule; may be repeated")
    parser.add_argument("--rules", type=Path, metavar="FILE", help="JSON list of rules")
    parser.add_argument("--pid", type=int, help="process that `kill` kills, when it was started elsewhere")
    parser.add_argument("program", nargs="*", metavar="PROGRAM", help="started with $KUBECONFIG of the proxy")
    return parser.parse_args(words)


def _read_rules(options: argparse.Namespace) -> list[Rule]:
    try:
        found = [json.loads(text) for text in options.rule]
        found += json.loads(options.rules.read_text()) if options.rules else []
    except json.JSONDecodeError as error:
        raise RuleError(f"a rule is no JSON: {error}; faults are {', '.join(FAULTS)}") from error
    return [read_rule(data) for data in found]


async def _serve(options: argparse.Namespace, rules: list[Rule]) -> int:
    from agentsessions.engine.credentials import load_access  # noqa: PLC0415  # --help needs no libraries

    from .proxy import Proxy  # noqa: PLC0415  # likewise

    proxy = Proxy(load_access(options.kubeconfig))
    proxy.on_record = _print
    for rule in rules:
        proxy.arm(rule)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        async with proxy.serve(options.port):
            kubeconfig = write_kubeconfig(Path(folder, "kubeconfig"), proxy.url)
            print(f"API server at {proxy.url}; KUBECONFIG={kubeconfig}", flush=True)
            return await _wait(options, proxy, kubeconfig)


async def _wait(options: argparse.Namespace, proxy: "Proxy", kubeconfig: Path) -> int:
    if options.pid is not None:
        proxy.kill = lambda: kill_pid(options.pid)
    if not options.program:
        await asyncio.Event().wait()
    program = Program(options.program, kubeconfig)
    if options.pid is None:
        proxy.kill = program.kill
    try:
        return await program.run()
    finally:
        program.terminate()


def _print(record: "Record") -> None:
    fault = f"   <- {record.rule.fault}" if record.rule else ""
    where = f"{record.call.namespace}/{record.call.name}".strip("/")
    print(f"{record.number:5} {record.call} {where} {record.status or '-'}{fault}", flush=True)
