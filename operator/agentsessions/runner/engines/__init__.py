"""Agent libraries behind the engine port."""
