"""What schemathesis must know of the gateway: where the sessions are, and what would only take time.

Loaded by the `schemathesis` program that `test_gateway_schema.py` runs ($SCHEMATHESIS_HOOKS).
"""

import os
import re
from typing import Any, Final

import schemathesis

SESSIONS: Final = os.environ["AGENTSESSIONS_TEST_SESSIONS"].split(",")
NAMESPACE: Final = re.compile(r"\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
Parameters = dict[str, Any]


@schemathesis.hook
def map_query(context: schemathesis.HookContext, query: Parameters | None) -> Parameters | None:
    """Leave out a namespace that could be: nothing is there but in the one of the header."""
    del context
    if query and NAMESPACE.fullmatch(str(query.get("namespace", ""))):
        del query["namespace"]
    return query


@schemathesis.hook
def map_headers(context: schemathesis.HookContext, headers: Parameters | None) -> Parameters | None:
    """Likewise for the header, which would replace the test's own."""
    del context
    for name in [name for name in headers or {} if name.lower() == "x-namespace"]:
        del headers[name]
    return headers


@schemathesis.hook
def map_path_parameters(context: schemathesis.HookContext, path_parameters: Parameters | None) -> Parameters | None:
    """Name a session that is there, three times of four."""
    del context
    if path_parameters and isinstance(wanted := path_parameters.get("session"), str):
        choice = len(wanted) % (len(SESSIONS) + 1)
        path_parameters["session"] = [*SESSIONS, wanted][choice]
    return path_parameters


@schemathesis.hook
def map_body(context: schemathesis.HookContext, body: Any) -> Any:
    """Wait for no reply: no agent runs."""
    del context
    if isinstance(body, dict) and isinstance(body.get("waitSeconds"), int):
        body["waitSeconds"] = 0
    return body
