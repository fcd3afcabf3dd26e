"""Live figures of many sessions, from one look at the gateway to the next. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from agentsessions.api.reasons import Phase
from agentsessions.client.values import SessionItem

ACTIVE = frozenset({Phase.STARTING, Phase.RUNNING, Phase.PAUSING, Phase.CANCELLING})
ORDER = (Phase.WAITING, Phase.RUNNING, Phase.STARTING, Phase.PAUSING, Phase.QUEUED, Phase.PAUSED, Phase.IDLE)


@dataclass(frozen=True, slots=True)
class Row:
    """One session, and how fast it spends."""

    session: SessionItem
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What is to be seen at one moment."""

    rows: list[Row]
    phases: Counter[str]
    tokens_per_second: float
    cost_micro_usd: int

    @property
    def active(self) -> int:
        """Sessions with a pod."""
        return sum(self.phases[phase] for phase in ACTIVE)

    @property
    def queued(self) -> int:
        """Sessions that wait for a place."""
        return self.phases[Phase.QUEUED]


@dataclass(slots=True)
class Meter:
    """Remembers the look before, to tell how fast tokens are spent."""

    _before: dict[str, int] = field(default_factory=dict)
    _at: float | None = None

    def look(self, sessions: Iterable[SessionItem], now: float) -> Frame:
        """Return what is to be seen at `now` (monotonic seconds)."""
        found = list(sessions)
        span = 0.0 if self._at is None else now - self._at
        rows = [Row(one, self._speed(one, span)) for one in found]
        self._before, self._at = {one.uid: one.total_tokens for one in found}, now
        return Frame(
            sorted(rows, key=_place),
            Counter(one.phase for one in found),
            sum(row.tokens_per_second for row in rows),
            sum(one.cost_micro_usd for one in found),
        )

    def _speed(self, session: SessionItem, span: float) -> float:
        before = self._before.get(session.uid)
        return 0.0 if before is None or span <= 0 else max(0, session.total_tokens - before) / span


def _place(row: Row) -> tuple[int, float, float]:
    phase = row.session.phase
    order = next((place for place, one in enumerate(ORDER) if one == phase), len(ORDER))
    return order, -row.tokens_per_second, -row.session.created_at.timestamp()
