"""An agent ready to run: its manifest joined with its prompts and mock scripts."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from agentd import yaml_source
from agentd.diagnose import nearest, place
from agentd.files import Files
from agentd.manifest import Manifest
from agentd.manifest_file import Draft
from agentd.problems import Problem
from agentd.prompts import InvalidPrompt, Prompt, PromptLibrary
from agentd.yaml_nodes import Map, Scalar, plain


@dataclass(frozen=True)
class AgentSpec:
    """One agent, ready to run.

    Attributes:
        manifest: with the folder's defaults and variables filled in; a model's `script` is read.
        prompt: makes the system turn.
        input: makes the user turn, where the manifest has a template for it.
        revision: 12 hex digits of a digest over all that makes the agent: manifest, prompts with
            their includes, scripts. Comments do not count.
        file: the manifest.
        root: its fields with their places.
    """

    name: str
    manifest: Manifest
    prompt: Prompt
    input: Prompt | None
    revision: str
    file: Path
    root: Map = field(repr=False, compare=False)

    def problem(
        self, *loc: str | int, text: str, severity: Literal["error", "warning"] = "error"
    ) -> Problem:
        """What is wrong at a field, for one who finds out later than the catalog."""
        return place(self.root, loc).problem(text, severity=severity)


def assemble(
    draft: Draft, file: str, files: Files, library: PromptLibrary
) -> tuple[AgentSpec | None, list[Problem]]:
    """The agent of the manifest `file`, or all that is wrong with its prompts and scripts."""
    assembly = _Assembly(draft, file, files, library)
    return assembly.spec(), assembly.problems


def scripts_of(draft: Draft, file: str) -> Iterator[tuple[int, str]]:
    """The files that a manifest names as mock scripts, as names below the manifests' folder, each
    with the index of its model."""
    models: Any = draft.data.get("model")
    for index, model in enumerate(models if isinstance(models, list) else [models]):
        script = model.get("script") if isinstance(model, dict) else None
        if isinstance(script, str):
            yield index, posixpath.normpath(posixpath.join(posixpath.dirname(file), script))


class _Assembly:
    """One manifest on its way to an agent; every step adds to `problems` what is wrong."""

    def __init__(self, draft: Draft, file: str, files: Files, library: PromptLibrary) -> None:
        self.problems: list[Problem] = []
        self._draft = draft
        self._file = file
        self._files = files
        self._library = library

    def spec(self) -> AgentSpec | None:
        prompt = self._prompt()
        user_turn = self._inline("input")
        scripts = self._scripts()
        manifest = self._draft.manifest
        if manifest is None or prompt is None or self.problems:
            return None
        if scripts:
            models = tuple(
                model.model_copy(update={"script": scripts.get(index, model.script)})
                for index, model in enumerate(manifest.model)
            )
            manifest = manifest.model_copy(update={"model": models})
        return AgentSpec(
            name=manifest.name,
            manifest=manifest,
            prompt=prompt,
            input=user_turn,
            revision=_digest(
                self._draft.data, scripts, prompt.digest, user_turn.digest if user_turn else ""
            ),
            file=self._files.folder / self._file,
            root=self._draft.root,
        )

    def _prompt(self) -> Prompt | None:
        """The system turn, from wherever the manifest has it. A file that is only implied is not
        looked for while the manifest has mistakes: its name may be one of them."""
        draft = self._draft
        if draft.body:
            return self._compile(draft.body.text, line=draft.body.line)
        if "instructions" in draft.data:
            return self._inline("instructions")
        name = draft.data.get("prompt")
        if name is None and draft.manifest:
            name = f"{draft.manifest.name}.md"
        return self._from_library(name) if isinstance(name, str) else None

    def _from_library(self, name: str) -> Prompt | None:
        shown = self._files.shown_prompt(name)
        if name not in self._library.sources:
            hint = nearest(name, self._library.sources) or "write it, or give `instructions:` here"
            self._report(("prompt",), f"there is no {shown}", hint)
            return None
        if not self._library.sources[name].strip():
            # As an editor leaves it for a moment: it cuts the file before it writes it anew.
            self.problems.append(Problem(file=shown, text="the prompt is empty"))
            return None
        try:
            return self._library.compile(name)
        except InvalidPrompt as error:
            self.problems += error.problems
            return None

    def _inline(self, field: str) -> Prompt | None:
        """The template that stands in a field of the manifest."""
        node = self._draft.root.get(field)
        if not isinstance(node, Scalar) or not node.text:
            return None
        line, column = node.span.line, node.span.column + (node.style == "quoted")
        if node.style == "literal":
            line, column = line + 1, 1 + _indent(node.span.source.line(line + 1))
        told = len(self.problems)
        prompt = self._compile(node.text, line=line, column=column)
        self.problems[told:] = [self._placed(each, node) for each in self.problems[told:]]
        return prompt

    def _placed(self, problem: Problem, node: Scalar) -> Problem:
        """A problem of an inline template with the line of the file in which it stands. Where YAML
        folded or escaped the text, lines and columns do not agree: the whole value is the place."""
        if problem.file != self._draft.file:
            return problem
        line = node.span.source.line(problem.line)
        if node.style == "literal" or node.text in line:
            return replace(problem, source=line)
        return node.span.problem(problem.text, hint=problem.hint)

    def _compile(self, text: str, *, line: int, column: int = 1) -> Prompt | None:
        try:
            return self._library.compile_text(text, self._draft.file, line=line, column=column)
        except InvalidPrompt as error:
            self.problems += error.problems
            return None

    def _scripts(self) -> dict[int, Any]:
        """What the script files say, by the index of their model."""
        found: dict[int, Any] = {}
        for index, name in scripts_of(self._draft, self._file):
            content = self._files.manifests.get(name)
            if content is None:
                folder = posixpath.dirname(self._file)
                known = [posixpath.relpath(each, folder or ".") for each in self._files.manifests]
                mend = nearest(posixpath.relpath(name, folder or "."), known)
                text = f"there is no YAML file {self._files.shown(name)}"
                self._report(
                    ("model", index, "script"), text, mend or "it stands beside the manifests"
                )
                continue
            document = yaml_source.read(content, self._files.shown(name))
            self.problems += document.problems
            found[index] = plain(document.root) if document.root else None
        return found

    def _report(self, loc: tuple[str | int, ...], text: str, hint: str) -> None:
        self.problems.append(place(self._draft.root, loc).problem(text, hint=hint))


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _digest(data: Mapping[str, Any], scripts: Mapping[int, Any], *digests: str) -> str:
    """A revision. Secrets are in it, as a new key must take effect; they cannot be read from it."""
    text = json.dumps([data, list(scripts.items()), digests], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
