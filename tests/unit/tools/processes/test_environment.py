"""The environment of tools: what they inherit, and that keys are not part of it."""

from __future__ import annotations

from agentd.tools.processes.environment import environment

OURS = {"PATH": "/bin", "LC_ALL": "C", "OPENAI_API_KEY": "sk-1", "AGENTD_NATS": "nats://x"}


def test_a_tool_inherits_only_what_is_on_the_list() -> None:
    assert environment({}, OURS) == {"PATH": "/bin", "LC_ALL": "C"}


def test_a_manifest_can_name_more_and_replace_the_rest() -> None:
    named = {"PATH": "/opt", "OPENAI_API_KEY": "sk-2"}
    assert environment(named, OURS) == {"PATH": "/opt", "LC_ALL": "C", "OPENAI_API_KEY": "sk-2"}
