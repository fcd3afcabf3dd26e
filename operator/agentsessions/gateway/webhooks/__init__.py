"""Tells receivers outside of what becomes of sessions: what SessionWebhooks want, what was sent, how it went."""
