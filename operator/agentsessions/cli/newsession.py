"""A session's manifest, from what the flags of `create`, `run` and `chat` say. Pure, but for reading files."""

import re
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agentsessions.api.names import API_VERSION, DEFAULT_AGENT, MAX_SESSION_NAME
from agentsessions.cli.documents import MAX_BYTES, BadDocumentError, read_documents
from agentsessions.cli.failures import UsageFailure

Json = dict[str, Any]
KIND: Final = "AgentSession"
SUFFIX_BYTES: Final = 3
SLUG: Final = 30
_OTHER: Final = re.compile(r"[^a-z0-9]+")

NameOption = Annotated[str | None, typer.Option("--name", help="Name; by default one that follows from the goal.")]
TemplateOption = Annotated[str | None, typer.Option("--template", help="AgentSessionTemplate to start from.")]
TitleOption = Annotated[str | None, typer.Option("--title", help="Title for people.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Model; by default the provider's first.")]
ProviderOption = Annotated[str | None, typer.Option("--provider", help="ModelProvider; `default` by default.")]
InstructionsOption = Annotated[str | None, typer.Option("--instructions", help="The agent's system prompt.")]
ContextOption = Annotated[
    str | None, typer.Option("--context-text", help="Text for the agent besides the goal; @FILE reads it.")
]
StepsOption = Annotated[int | None, typer.Option("--max-steps", min=1, help="Model answers at most.")]
TokensOption = Annotated[int | None, typer.Option("--max-tokens", min=1, help="Input plus output tokens at most.")]
SecondsOption = Annotated[int | None, typer.Option("--max-seconds", min=1, help="Seconds of work at most.")]


def build_spec(  # noqa: PLR0913  # one for each flag
    *,
    goal: str | None = None,
    title: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    instructions: str | None = None,
    context_text: str | None = None,
    max_steps: int | None = None,
    max_tokens: int | None = None,
    max_seconds: int | None = None,
    is_open: bool = False,
    template: str | None = None,
) -> Json:
    """Return a spec that says only what was given."""
    agent = _given(
        instructions=instructions,
        model=_given(name=model, providerRef=_given(name=provider)),
    )
    return _given(
        templateRef=_given(name=template),
        goal=goal,
        title=title,
        context=_given(text=read_text(context_text)),
        agents=[{"name": DEFAULT_AGENT, **agent}] if agent else None,
        limits=_given(maxSteps=max_steps, maxTokens=max_tokens, timeoutSeconds=max_seconds),
        conversation={"open": True} if is_open else None,
    )


def _given(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value not in (None, {})}


def read_text(text: str | None) -> str | None:
    """Return a text, or that of the file that `@FILE` names.

    Raises:
        UsageFailure: The file cannot be read.
    """
    if text is None or not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFailure(f"{text[1:]} cannot be read as text: {error}") from error


def name_from(text: str) -> str:
    """Return a name that begins like a text, and is new."""
    words = _OTHER.sub("-", text.lower()).strip("-")
    slug = words if len(words) <= SLUG else words[: SLUG + 1].rpartition("-")[0] or words[:SLUG]
    slug = slug or "session"
    return f"{slug}-{secrets.token_hex(SUFFIX_BYTES)}"[:MAX_SESSION_NAME]


def read_manifest(source: str) -> Json:
    """Return the one AgentSession of a file; `-` is standard input.

    Raises:
        UsageFailure: There is none, or more than one object.
    """
    try:
        found = read_documents(_read_bytes(source))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageFailure(f"{source} cannot be read: {error}") from error
    except BadDocumentError as error:
        raise UsageFailure(f"{source} cannot be read as YAML ({error.problem}): {error}") from None
    if len(found) != 1 or not isinstance(found[0], dict) or found[0].get("kind") != KIND:
        kinds = ", ".join(str(one.get("kind")) for one in found if isinstance(one, dict)) or "nothing"
        raise UsageFailure(f"{source} must hold one {KIND} and has {kinds}: apply the rest with `kubectl apply -f`")
    manifest: Json = found[0]
    return manifest


def _read_bytes(source: str) -> bytes:
    """Return what a file begins with: one byte more than may be shows that there is too much."""
    if source == "-":
        return sys.stdin.read(MAX_BYTES + 1).encode(errors="surrogateescape")
    with Path(source).open("rb") as file:
        return file.read(MAX_BYTES + 1)


def build_manifest(name: str | None, spec: Json, base: Json | None = None) -> Json:
    """Return the manifest of a session: what a file says, with what the flags say on top."""
    manifest = base or {"apiVersion": API_VERSION, "kind": KIND, "metadata": {}}
    metadata = dict(manifest.get("metadata") or {})
    if name:
        metadata["name"] = name
    if not metadata.get("name") and not metadata.get("generateName"):
        metadata["name"] = name_from(
            spec.get("title") or spec.get("goal") or spec.get("templateRef", {}).get("name") or "session"
        )
    return {**manifest, "metadata": metadata, "spec": {**(manifest.get("spec") or {}), **spec}}
