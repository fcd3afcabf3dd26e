"""The API's own description: what FastAPI derives from the routes, with the errors and the login that all share.

A field that may be absent is described as absent, not as null: answers leave out what is not there. Links say which
requests an answer leads to; programs that test the API follow them.
"""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from agentsessions.api.wire import Problem
from agentsessions.gateway.examples import EXAMPLES
from agentsessions.gateway.problems import MEDIA_TYPE

Json = dict[str, Any]

ERRORS: Final = {"4XX": "The request is refused; `code` says why.", "5XX": "The request failed; try again later."}
LOCATION: Final[Json] = {"Location": {"description": "Where it can be read.", "schema": {"type": "string"}}}
"""Headers of an answer that tells where something is now."""
RETRY_AFTER: Final[Json] = {
    "Retry-After": {
        "description": "Seconds after which to try again; without it, trying again changes nothing.",
        "schema": {"type": "integer", "minimum": 0},
    }
}
LINKS: Final = {
    "createSession": (
        {"session": "$response.body#/uid"},
        (
            "getSession",
            "patchSession",
            "createMessage",
            "listMessages",
            "pauseSession",
            "cancelSession",
            "deleteSession",
        ),
    ),
    "createMessage": (
        {"session": "$request.path.session", "message": "$response.body#/id"},
        ("getMessage", "patchMessage", "deleteMessage"),
    ),
}
"""By operation that creates something: parameters from its answer, and the operations that take them."""
_UNUSED: Final = ("HTTPValidationError", "ValidationError")
_METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's operation, as generated clients call it."""
    return _to_camel(route.name)


def install(app: FastAPI) -> None:
    """Let `app` describe itself, once all of its routes are there."""
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]  # FastAPI's documented way


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield path, method and description of each operation, in the order of the routes."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in _METHODS:
                yield path, method, operation


def _describe(app: FastAPI) -> Json:
    if app.openapi_schema is None:
        app.openapi_schema = _build(app)
    return app.openapi_schema


def _build(app: FastAPI) -> Json:
    document = get_openapi(title=app.title, summary=app.summary, version=app.version, routes=app.routes)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in _UNUSED:
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token that the Kubernetes API server accepts, of a service account or by OIDC.",
        }
    }
    document["security"] = [{"bearer": []}]
    for _, _, operation in operations(document):
        responses = operation["responses"]
        responses.pop("422", None)
        responses |= {status: _problem(description) for status, description in ERRORS.items()}
        if operation["operationId"] in LINKS:
            parameters, targets = LINKS[operation["operationId"]]
            responses["201"]["links"] = {one: {"operationId": one, "parameters": parameters} for one in targets}
        if operation["operationId"] in EXAMPLES:
            named = EXAMPLES[operation["operationId"]].items()
            examples = {name: {"value": value} for name, value in named}
            operation["requestBody"]["content"]["application/json"]["examples"] = examples
    return _without_null_parameters(document)


def _problem(description: str) -> Json:
    return {
        "description": description,
        "headers": RETRY_AFTER,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


def _without_null_parameters(document: Json) -> Json:
    """A query or header is there or not; it is never null."""
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            options = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
            if len(options) == 1 and len(schema["anyOf"]) > 1:
                del schema["anyOf"]
                schema |= options[0]
    return document


def _to_camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
