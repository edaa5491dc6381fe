"""Tests of agents, as people write them beside their manifests: `agentd test`."""
