"""`kind = "agent-session"`: updates of an agent from a buffer that was filled elsewhere."""
