"""Import the Agents SDK without what the runner never uses. Import `agents` and `openai` from here, nowhere else.

Why: two of the SDK's optional partners are most of its start: `mcp` (MCP servers are reached through the gateway, never
from the pod) and `aiohttp` (an alternative transport of the OpenAI client; it is in the image for the operator).
Measured with byte code on an idle node, Python 3.11, openai-agents 0.24.0:

    import agents                                   1.40 s CPU   102 MB
    garbage collection off                          1.09 s       104 MB
    and without mcp                                 0.70 s        77 MB
    and without aiohttp                             0.63 s        67 MB

How: while the SDK is imported, `mcp.shared.exceptions`, the only module of `mcp` that it takes at import time, is one
with the exception class that it looks up there, and `aiohttp` counts as not installed, which the OpenAI client
allows. Afterwards both names are as they were: whoever imports them gets the real packages. Should a later SDK take
more of `mcp`, the import fails at start, in every test.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

MCP_ERRORS: Final = "mcp.shared.exceptions"
AIOHTTP: Final = "aiohttp"


class MCPError(Exception):
    """Stands for the exception that MCP servers raise; the runner has none, so it is never raised."""


@contextmanager
def without_unused() -> Iterator[None]:
    """Hide `mcp` and `aiohttp` from imports, unless they are imported already."""
    errors = ModuleType(MCP_ERRORS, "Stand-in while the Agents SDK is imported.")
    errors.MCPError = MCPError  # type: ignore[attr-defined]  # a module that is made at run time
    hidden = {MCP_ERRORS: errors, AIOHTTP: None}
    added = [name for name in hidden if name not in sys.modules]
    for name in added:
        sys.modules[name] = hidden[name]  # type: ignore[assignment]  # None means: not importable, documented by importlib
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


with without_unused():
    import agents
    import openai

__all__ = ["agents", "openai"]
