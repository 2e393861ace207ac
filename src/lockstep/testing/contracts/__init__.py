"""Contract suites: one class per port. Subclass it in a test module and say how to build what is to be tested."""
