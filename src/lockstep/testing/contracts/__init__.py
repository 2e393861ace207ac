"""Contract suites: what every adapter and every kind must do, as tests to subclass or call."""
