"""Contract suites, builders and fault injection for tests; shipped, never imported by the product."""
