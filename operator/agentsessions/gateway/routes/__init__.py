"""Routes: `sessions`, `messages` and `events` for people and programs, `levels` for the operator."""
