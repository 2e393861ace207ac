"""`kind = "strategy"`: a search over the parameters of a rule-based strategy."""
