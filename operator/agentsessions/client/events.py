"""A session's event stream, as bytes come in: lines to events, and where to go on after a break. Pure."""

import json
from dataclasses import dataclass, field
from typing import Any, Final

from agentsessions.client.decode import decode
from agentsessions.client.values import Event

LAST: Final = frozenset({"done", "end"})
"""Events after which nothing comes: of a session, of a replay."""


@dataclass(slots=True)
class EventDecoder:
    """Puts the lines of server-sent events together."""

    last_seq: int = 0
    """Number of the last entry that was seen: where to go on."""
    is_done: bool = False
    """Whether the stream said that nothing more comes."""
    _fields: dict[str, str] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget half an event: the connection it came by is gone."""
        self._fields.clear()

    def feed(self, line: str) -> Event | None:
        """Take a line without its end; return the event that it completes, if it was not seen before."""
        if line:
            name, _, value = line.partition(":")
            if name:  # comments have none
                self._fields[name] = value.removeprefix(" ")
            return None
        frame = dict(self._fields)
        self._fields.clear()
        return self._take(frame) if "data" in frame else None

    def _take(self, frame: dict[str, str]) -> Event | None:
        data: dict[str, Any] = json.loads(frame["data"])
        name, seq = frame.get("event", "message"), int(frame["id"]) if "id" in frame else None
        if seq is None:
            self.is_done = name in LAST
            return Event(type=name, body=data)
        if seq <= self.last_seq:
            return None
        self.last_seq = seq
        self.is_done = name in LAST
        return decode(Event, {"type": name, **data, "seq": seq})
