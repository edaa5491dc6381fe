"""agentd: a declarative runtime for LLM agents on NATS."""

__version__ = "0.1.0"
