"""`agentd new`: writes the manifest and the prompt of a new agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_TEST = """\
cases:
  - name: is told what it is
    input: Who are you?
    model: mock/echo # repeats its prompt and the task, so that a test can look at them
    expect: {{contains: You are {name}}}
  - name: answers
    input: Who are you?
    model: [I am {name}.] # what the model says in this test; leave it out to ask it with --record
    expect: {{contains: {name}, max_turns: 1}}
"""
_PROMPT = """\
You are {{ agent.name }}. Describe here what you do, for whom, and what a good answer looks like.

Answer in plain sentences. Say so when you do not know something.
"""


def new(
    name: Annotated[str, typer.Argument(help="What the agent is called; also its capability.")],
    manifests: Annotated[
        Path, typer.Option("--manifests", help="The folder of the manifests.")
    ] = Path("manifests"),
    model: Annotated[
        str | None, typer.Option("--model", help="Its model [that of the folder or the process].")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Write a test, too.")] = False,
) -> None:
    """Write a manifest and a prompt to begin with."""
    from agentd.errors import UsageError
    from agentd.manifest.files import display_path
    from agentd.manifest.quantities import subject_name

    try:
        subject_name(name)
    except ValueError as error:
        raise UsageError(f"the name {error.args[0]}") from None
    manifest = manifests / f"{name}.yaml"
    prompt = manifests.absolute().parent / "prompts" / f"{name}.md"
    cases = manifests / f"{name}.test.yaml"
    files = (manifest, prompt, *([cases] if test else []))
    for file in files:
        if file.exists():
            raise UsageError(f"{display_path(file)} is there already; nothing is written")
    _write(manifest, _manifest(name, manifests, model))
    _write(prompt, _PROMPT)
    if test:
        _write(cases, _TEST.format(name=name))
    typer.echo(f"wrote {' and '.join(map(display_path, files))}")
    typer.echo(f'next: agentd up {display_path(manifests)}, then: agentd ask {name} "Who are you?"')
    if test:
        typer.echo(f"and: agentd test {display_path(manifests)}")


def _manifest(name: str, manifests: Path, model: str | None) -> str:
    from agentd.manifest.reference import flow_style

    lines: list[str] = []
    if (manifests.absolute().parent / "agent.schema.json").exists():
        lines.append("# yaml-language-server: $schema=../agent.schema.json")
    lines += [f"description: What {name} does, in a sentence.", f"capabilities: [{name}]"]
    if model:
        lines.append(f"model: {flow_style(model)}")
    lines.append(f"prompt: {name}.md")
    return "\n".join(lines) + "\n"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Exclusive: what appeared since the look stays.
    with file.open("x", encoding="utf-8") as out:
        out.write(text)
