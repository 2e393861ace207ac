"""`kind = "replay-agent"`: an agent that learns from a replay buffer while it trades."""
