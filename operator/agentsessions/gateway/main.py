"""Console entry of the gateway: serves, or runs one of the commands that need little of what serving does."""

import gc
import sys

from agentsessions.gateway.settings import Settings, SettingsError, read_settings


def main() -> None:
    """Serve until SIGTERM or SIGINT, or run the command that is given; exit 1 when that cannot be done."""
    try:
        settings = read_settings()
    except SettingsError as error:
        sys.exit(f"agentsessions-gateway: {error}")
    if len(sys.argv) > 1:
        from agentsessions.gateway import commands  # noqa: PLC0415 - half a second of imports, but not two

        sys.exit(commands.run(sys.argv[1:], settings))
    start(settings)


def start(settings: Settings) -> None:
    """Import what serves, and serve."""
    gc.disable()
    from agentsessions.gateway import serving  # noqa: PLC0415 - so that commands do without

    # What was imported lives as long as the process: the collector need not look at it.
    gc.freeze()
    gc.enable()
    serving.serve(settings)


if __name__ == "__main__":
    main()
