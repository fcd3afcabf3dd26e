"""A client of the gateway for programs: `Client`, and `AsyncClient` for asynchronous ones."""

from agentsessions.client.asynchronous import AsyncClient, AsyncConversation
from agentsessions.client.errors import AgentSessionsError, ApiError, SessionEnded, TimedOut, Unreachable
from agentsessions.client.sync import Client, Conversation
from agentsessions.client.values import FINAL_PHASES, Event, Message, Outcome, Reply, Session, SessionItem, Step

__all__ = [
    "FINAL_PHASES", "AgentSessionsError", "ApiError", "AsyncClient", "AsyncConversation", "Client", "Conversation",
    "Event", "Message", "Outcome", "Reply", "Session", "SessionEnded", "SessionItem", "Step", "TimedOut", "Unreachable",
]  # fmt: skip
