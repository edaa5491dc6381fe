"""`agentd schema`: prints the JSON Schemas of manifests and messages."""

from __future__ import annotations

import json
from typing import Annotated

import typer


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

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
