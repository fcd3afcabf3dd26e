"""Files that are there whole or not at all, and stay there when the machine stops."""

import contextlib
import os
from typing import Final

DEFAULT_MODE: Final = 0o644


def write_durably(folder: int, name: str, data: bytes, *, mode: int = DEFAULT_MODE) -> None:
    """Replace the file `name` in the folder open as `folder`.

    Raises:
        OSError: It could not be written; what was there before is untouched.
    """
    part = f".{name[:200]}.part"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(part, flags, mode, dir_fd=folder), "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(part, dir_fd=folder)
        raise
    os.fsync(folder)
