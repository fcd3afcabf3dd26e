"""Import the Agents SDK without what the runner never uses. Import `agents` and `openai` from here, nowhere else.

Why: some of the SDK's partners are most of its start: `mcp` (MCP servers are reached through the gateway, never from
the pod), `aiohttp` (an alternative transport of the OpenAI client; it is in the image for the operator) and `griffe`
(reads the docstrings of Python functions that are tools; ours come with a schema). Measured with byte code on an idle
node, Python 3.11, openai-agents 0.24.0:

    import agents                                   1.40 s CPU   102 MB
    garbage collection off                          1.09 s       104 MB
    and without mcp                                 0.70 s        77 MB
    and without aiohttp                             0.63 s        67 MB

`griffe` came later: 45 of the 884 ms that `-X importtime` shows for the rest.

How: while the SDK is imported, `mcp.shared.exceptions`, the only module of `mcp` that it takes at import time, is one
with the exception class that it looks up there, `griffe` is one with the two names that it takes, and `aiohttp` counts
as not installed, which the OpenAI client allows. Afterwards all names are as they were: whoever imports them gets the
real packages. Should a later SDK take more of them, the import fails at start, in every test.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

MCP_ERRORS: Final = "mcp.shared.exceptions"
AIOHTTP: Final = "aiohttp"
GRIFFE: Final = "griffe"


class MCPError(Exception):
    """Stands for the exception that MCP servers raise; the runner has none, so it is never raised."""


class Unused:
    """Stands for what reads docstrings; the runner has no tools that are Python functions."""


@contextmanager
def without_unused() -> Iterator[None]:
    """Hide these packages from imports, unless they are imported already."""
    hidden = {
        MCP_ERRORS: _stand_in(MCP_ERRORS, MCPError=MCPError),
        GRIFFE: _stand_in(GRIFFE, Docstring=Unused, DocstringSectionKind=Unused),
        AIOHTTP: None,
    }
    added = [name for name in hidden if name not in sys.modules]
    for name in added:
        sys.modules[name] = hidden[name]  # type: ignore[assignment]  # None means: not importable, documented by importlib
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def _stand_in(name: str, **members: object) -> ModuleType:
    module = ModuleType(name, "Stand-in while the Agents SDK is imported.")
    vars(module).update(members)
    return module


with without_unused():
    import agents
    import openai

__all__ = ["agents", "openai"]
