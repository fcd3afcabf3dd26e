"""Kinds that only the controller talks about."""

from typing import Final

from agentsessions.api import names
from agentsessions.engine.resources import Resource

AGENT_SESSIONS: Final = Resource(names.GROUP, names.VERSION, "agentsessions", "AgentSession")
MODEL_PROVIDERS: Final = Resource(names.GROUP, names.VERSION, "modelproviders", "ModelProvider")
SESSION_TEMPLATES: Final = Resource(names.GROUP, names.VERSION, "agentsessiontemplates", "AgentSessionTemplate")
TOOL_SERVERS: Final = Resource(names.GROUP, names.VERSION, "toolservers", "ToolServer")
SESSION_QUOTAS: Final = Resource(names.GROUP, names.VERSION, "sessionquotas", "SessionQuota")
