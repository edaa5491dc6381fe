"""`agentd schema`: prints the JSON Schemas of manifests and messages."""

from __future__ import annotations

from typing import Annotated

import typer

from agentd.cli.shared.console import say_json


def schema(
    message: Annotated[
        bool, typer.Option("--message", help="The schema of a message instead of a manifest.")
    ] = False,
) -> None:
    """Print the JSON Schema of a manifest, for editors and programs."""
    if message:
        from agentd.protocol.message import json_schema
    else:
        from agentd.manifest.reference import json_schema

    say_json(json_schema(), indent=2)
