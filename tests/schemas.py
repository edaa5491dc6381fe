"""The JSON Schemas of files, built once for all tests of a process that check files with them."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator

from agentd.manifest.file_schema import agent_schema, defaults_schema


@cache
def of_agent() -> Any:
    """Checks the file of an agent."""
    return Draft202012Validator(agent_schema())


@cache
def of_defaults() -> Any:
    """Checks a `_defaults.yaml`."""
    return Draft202012Validator(defaults_schema())
