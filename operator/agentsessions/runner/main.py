"""Console entry of the runner.

As process 1 of its container the runner has no default action for SIGTERM, and importing the SDK takes a second: the
handler comes first, the imports after it.
"""

import gc
import os
import signal
import sys
from types import FrameType

from agentsessions.api.reasons import ExitCode
from agentsessions.runner.settings import Settings, strip_reserved


def main() -> None:
    """Play the session of this pod and exit."""
    try:
        settings = Settings.from_env(os.environ)
    except ValueError as error:
        sys.exit(f"agentsessions-runner: {error}")
    sys.exit(start(settings))


def start(settings: Settings) -> ExitCode:
    """Import the runner and play; return the code to exit with."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, exit_at_once)
    strip_reserved(os.environ)
    gc.disable()
    from agentsessions.runner import app, logs  # noqa: PLC0415 - a second of imports, see above

    # What was imported lives as long as the process: the collector need not look at it, and pages stay shared.
    gc.freeze()
    gc.enable()
    logs.configure()
    return app.run(settings)


def exit_at_once(_number: int, _frame: FrameType | None) -> None:
    """Leave while nothing has begun."""
    os._exit(ExitCode.TERMINATED)


if __name__ == "__main__":
    main()
