"""Arrays in, numbers out: fills, exits, costs, metrics and sweeps. Start at `README.md` beside this file."""
