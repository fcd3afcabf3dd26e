"""Routes: `sessions` and `events` for people and programs, `levels` for the operator."""
