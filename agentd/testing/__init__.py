"""Real parts for tests and benchmarks of agentd and of what is built with it."""
