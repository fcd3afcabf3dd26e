"""The full screen of `top`."""

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Static

from agentsessions.cli.live import Frame
from agentsessions.cli.terminal import phase_text
from agentsessions.cli.verbs.top import HEADERS, cells, headline

PHASE_COLUMN = 1


class Top(App[None]):
    """Looks again and again, and shows what it saw."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Leave"),
        Binding("ctrl+c", "quit", "Leave", show=False, priority=True),
        Binding("space", "hold", "Hold"),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, look: Callable[[], Frame], seconds: float, first: Frame) -> None:
        super().__init__()
        self._look = look
        self._seconds = seconds
        self._first = first
        self._is_held = False

    def compose(self) -> ComposeResult:
        """Lay the screen out."""
        yield Static(id="headline", markup=False)
        yield DataTable(id="sessions", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one(DataTable).add_columns(*HEADERS)
        self.show(self._first)
        self.set_interval(self._seconds, self.look_again)

    def action_hold(self) -> None:
        """Stop looking, or go on."""
        self._is_held = not self._is_held

    @work(thread=True, exclusive=True)
    def look_again(self) -> None:
        """Look, beside the screen: the gateway may be slow."""
        if self._is_held:
            return
        try:
            frame = self._look()
        except Exception as error:  # noqa: BLE001  # the next look may go well
            self.call_from_thread(self.show_problem, str(error))
        else:
            self.call_from_thread(self.show, frame)

    def show(self, frame: Frame) -> None:
        """Show a look."""
        self.query_one("#headline", Static).update(headline(frame))
        table: DataTable[Text] = self.query_one(DataTable)
        row = table.cursor_row
        table.clear()
        for one in frame.rows:
            line = [Text(cell) for cell in cells(one)]
            line[PHASE_COLUMN] = phase_text(one.session.phase)
            table.add_row(*line, key=one.session.uid)
        table.move_cursor(row=min(row, max(0, len(frame.rows) - 1)))

    def show_problem(self, problem: str) -> None:
        """Say why there is no look."""
        self.query_one("#headline", Static).update(f"no look: {problem}")
