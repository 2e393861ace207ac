"""Runs: one loop that drives, records, resumes, verifies and compares every training. See README.md."""
