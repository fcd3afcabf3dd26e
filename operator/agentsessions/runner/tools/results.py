"""Results of tool calls on disk, from the moment a tool is done until the journal has its result."""

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import Field, ValidationError

from agentsessions.api.model import ApiModel
from agentsessions.runner.tools.durable import write_durably

log = structlog.get_logger(__name__)

PLAIN_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Result(ApiModel):
    """What a tool call came to."""

    output: str
    """Text for the model, already short enough."""
    is_error: bool
    """Whether the tool failed."""
    duration_milliseconds: Annotated[int, Field(ge=0)]
    """Time it took."""


class Results:
    """A folder with one file per call that has run and is not yet known to be in the journal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, call_id: str) -> Result | None:
        """Return the result of a call that an earlier epoch ran, or none. What cannot be read counts as absent."""
        try:
            return Result.model_validate_json(self._path(call_id).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("kept result not readable", call_id=call_id, error=str(error))
            return None

    def save(self, call_id: str, result: Result) -> None:
        """Write a result so that it survives the machine.

        A full disk does not stop the session: the result is reported all the same, and only a crash in the next
        moments would run the call again.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                write_durably(folder, self._path(call_id).name, result.model_dump_json(by_alias=True).encode())
            finally:
                os.close(folder)
        except OSError as error:
            log.warning("result not kept", call_id=call_id, error=str(error))

    def forget(self, call_id: str) -> None:
        """Remove a result that the journal has."""
        with contextlib.suppress(OSError):
            self._path(call_id).unlink(missing_ok=True)

    def _path(self, call_id: str) -> Path:
        name = call_id if PLAIN_NAME.fullmatch(call_id) else hashlib.sha256(call_id.encode()).hexdigest()
        return self._folder / name
