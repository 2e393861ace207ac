"""Executors: adapters that do a task's items here or in worker processes. See README.md."""
