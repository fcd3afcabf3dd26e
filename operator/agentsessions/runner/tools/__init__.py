"""Tools that run in the agent's pod, and what makes each call count once."""
