"""Names of what traces say, as OpenTelemetry's semantic conventions have them; those for models may still change.

Source: https://opentelemetry.io/docs/specs/semconv/gen-ai/ and .../http/. No other module writes such a name.
"""

from typing import Final

CHAT: Final = "chat"
"""The operation of a model call."""
INVOKE_AGENT: Final = "invoke_agent"
"""The operation of a turn."""

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION: Final = "gen_ai.conversation.id"
AGENT: Final = "gen_ai.agent.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
"""Content: only when the administrator asks for it."""
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
"""Likewise."""
ERROR: Final = "error.type"

METHOD: Final = "http.request.method"
ROUTE: Final = "http.route"
STATUS: Final = "http.response.status_code"

OUTCOME: Final = "agentsessions.outcome"
ROUND: Final = "agentsessions.round"
TURN: Final = "agentsessions.turn"
EPOCH: Final = "agentsessions.epoch"
REQUEST_ID: Final = "agentsessions.request.id"

OPENAI: Final = "openai"
"""What the conventions call providers that speak OpenAI's protocol."""
