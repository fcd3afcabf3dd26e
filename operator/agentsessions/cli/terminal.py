"""What is printed: text of strangers made harmless, tables, and colour only where a person looks."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentsessions.api.reasons import Phase
from agentsessions.cli.columns import GAP, fit

WIDE_ENOUGH: Final = 100_000
"""Columns of what is no terminal: nothing is cut for a program that reads it."""
PHASE_STYLES: Final = {
    Phase.RUNNING: "green",
    Phase.STARTING: "cyan",
    Phase.QUEUED: "cyan",
    Phase.WAITING: "bold magenta",
    Phase.PAUSED: "yellow",
    Phase.PAUSING: "yellow",
    Phase.FAILED: "bold red",
    Phase.EXPIRED: "red",
    Phase.COMPLETED: "blue",
}
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Characters by which a text could move the cursor, recolour the screen, or turn its direction; not tab, newline."""
_C0: Final = 0x20
_PICTURES: Final = 0x2400


def clean(text: str) -> str:
    """Return text of models and strangers without what a terminal obeys."""
    return _CONTROL.sub(_picture, text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Return text on one line."""
    return " ".join(clean(text).split())


def _picture(match: re.Match[str]) -> str:
    code = ord(match.group())
    return chr(_PICTURES + code) if code < _C0 else "\N{REPLACEMENT CHARACTER}"


@cache
def screen() -> Console:
    """Return standard output."""
    return _console(is_error=False)


@cache
def errors() -> Console:
    """Return standard error."""
    return _console(is_error=True)


def _console(*, is_error: bool) -> Console:
    stream = sys.stderr if is_error else sys.stdout
    width = None if stream.isatty() else WIDE_ENOUGH
    return Console(stderr=is_error, highlight=False, markup=False, emoji=False, soft_wrap=True, width=width)


def say(text: str = "", style: str | None = None, *, end: str = "\n") -> None:
    """Print text that is harmless; flushed, so that a pipe sees it at once."""
    screen().print(Text(text, style=style or ""), end=end)
    screen().file.flush()


def note(text: str) -> None:
    """Tell the user something that is no part of the output."""
    errors().print(Text(text, style="dim"))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]], *, is_wide: bool = False) -> None:
    """Print rows in columns."""
    screen().print(to_table(headers, rows, is_wide=is_wide), width=WIDE_ENOUGH, crop=False)


def to_table(headers: Sequence[str], rows: Iterable[Sequence[str | Text]], *, is_wide: bool = False) -> Table:
    """Return rows in columns, as kubectl has them; a terminal gets those that it has room for, all where `is_wide`."""
    lines = [[cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row] for row in rows]
    widths = [max([cell_len(name), *(line[place].cell_len for line in lines)]) for place, name in enumerate(headers)]
    columns = fit(headers, widths, WIDE_ENOUGH if is_wide else screen().width)
    table = Table(box=None, show_edge=False, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(headers[column.place], no_wrap=True, min_width=column.width, max_width=column.width)
    for line in lines:
        table.add_row(*(line[column.place] for column in columns))
    return table


def phase_text(phase: str) -> Text:
    """Return a phase in its colour."""
    return Text(clean(phase), style=PHASE_STYLES.get(phase, ""))  # type: ignore[call-overload]  # words of a newer gateway


def print_json(value: Any) -> None:
    """Print JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=not _is_unicode()) + "\n")


def print_yaml(value: Any) -> None:
    """Print YAML."""
    import yaml  # noqa: PLC0415  # 30 ms that most commands save

    sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=_is_unicode()))


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")


def cut(text: str, most: int) -> str:
    """Return a text, or its beginning with a mark."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def age(since: str | datetime | None, now: datetime | None = None) -> str:
    """Return how long ago an instant was, in one or two units as kubectl does."""
    if since is None:
        return ""
    moment = datetime.fromisoformat(since) if isinstance(since, str) else since
    return short((now or datetime.now(UTC)) - moment)


def short(span: timedelta) -> str:
    """Return a span in one or two units."""
    seconds = max(0, int(span.total_seconds()))
    for unit, size, finer, limit in (("d", 86_400, "h", 8), ("h", 3600, "m", 10), ("m", 60, "s", 10)):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            fine = rest // {"h": 3600, "m": 60, "s": 1}[finer]
            return f"{whole}{unit}{fine}{finer}" if whole < limit and fine else f"{whole}{unit}"
    return f"{seconds}s"


def count(number: int, noun: str) -> str:
    """Return how many there are, in words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def money(micro_usd: int | None) -> str:
    """Return an amount in dollars."""
    return "" if not micro_usd else f"${micro_usd / 1_000_000:.4f}".rstrip("0").rstrip(".")
