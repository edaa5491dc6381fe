"""`agentd new`: writes the manifest, the prompt and a test of a new agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentd.cli.shared.console import say

_TEST = """\
cases:
  - name: gets its prompt
    input: Who are you?
    model: mock/echo # answers with its prompt and the task, so that a test can check them
    expect: {{contains: You are {name}}}
  - name: answers
    input: Who are you?
    model: [I am {name}.] # the model's answer in this test; remove this line to use --record
    expect: {{contains: {name}, max_turns: 1}}
"""
_PROMPT = """\
You are {{ agent.name }}. Describe here what you do, for whom, and what a good answer looks like.

Answer in plain sentences. Say so when you do not know something.
"""


def new(
    name: Annotated[str, typer.Argument(help="The name of the agent, and its capability.")],
    manifests: Annotated[
        Path, typer.Option("--manifests", help="The folder of the manifests.")
    ] = Path("manifests"),
    model: Annotated[
        str | None, typer.Option("--model", help="Its model [from _defaults.yaml or AGENTD_MODEL].")
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Also write a test.")] = False,
) -> None:
    """Write the manifest and the prompt of a new agent."""
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
    # All are checked before the first is written: half a new agent would be worse than none.
    for file in files:
        if file.exists():
            raise UsageError(f"{display_path(file)} exists already; nothing was written")
    _write(manifest, _manifest(name, manifests, model))
    _write(prompt, _PROMPT)
    if test:
        _write(cases, _schema_line("test", manifests) + _TEST.format(name=name))
    say(f"wrote {' and '.join(map(display_path, files))}")
    say(f'next: agentd up {display_path(manifests)}, then: agentd ask {name} "Who are you?"')
    if test:
        say(f"and: agentd test {display_path(manifests)}")


def _manifest(name: str, manifests: Path, model: str | None) -> str:
    from agentd.manifest.yaml.nodes import flow_style

    lines = [f"description: What {name} does, in a sentence.", f"capabilities: [{name}]"]
    if model:
        lines.append(f"model: {flow_style(model)}")
    lines.append(f"prompt: {name}.md")
    return _schema_line("agent", manifests) + "\n".join(lines) + "\n"


def _schema_line(kind: str, manifests: Path) -> str:
    """The line by which editors find the schema of a file; "" if there is none."""
    file = f"{kind}.schema.json"
    exists = (manifests.absolute().parent / file).exists()
    return f"# yaml-language-server: $schema=../{file}\n" if exists else ""


def _write(file: Path, text: str) -> None:
    from agentd.errors import UsageError
    from agentd.manifest.files import display_path

    # Exclusive: a file that was created since the check is not overwritten.
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except OSError as error:
        raise UsageError(f"{display_path(file)} cannot be written: {error.strerror}") from None
