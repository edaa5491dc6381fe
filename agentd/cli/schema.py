"""`agentd schema`: prints the JSON Schemas of the YAML files, and of messages."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from agentd.cli.shared.console import say_json

FileKind = Literal["agent", "defaults", "test"]


def schema(
    kind: Annotated[
        FileKind,
        typer.Argument(help="Of an agent's file, a _defaults.yaml or a *.test.yaml."),
    ] = "agent",
    message: Annotated[
        bool, typer.Option("--message", help="The schema of a message instead of a file.")
    ] = False,
) -> None:
    """Print the JSON Schema of a manifest, its defaults or its tests, for editors and programs."""
    if message:
        from agentd.protocol.message import json_schema
    elif kind == "test":
        from agentd.testing.cases.case import json_schema
    elif kind == "defaults":
        from agentd.manifest.file_schema import defaults_schema as json_schema
    else:
        from agentd.manifest.file_schema import agent_schema as json_schema

    say_json(json_schema(), indent=2)
