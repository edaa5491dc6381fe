"""From a manifest with its prompts, tools and other files to an agent, or to all that is wrong."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentd.catalog import python_source
from agentd.catalog.spec import AgentSpec, Loc, expressions_of, files_of, templates_of
from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import did_you_mean, place
from agentd.manifest.file import ManifestDraft
from agentd.manifest.files import Files
from agentd.manifest.json_schema import schema_error
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.nodes import Scalar, plain
from agentd.problems import Problem, errors
from agentd.templates.expression import Expression, InvalidExpression, compile_expression
from agentd.templates.prompts import (
    CONTEXT_FIELDS,
    CONTEXT_NAMES,
    InvalidPrompt,
    Prompt,
    PromptLibrary,
)
from agentd.templates.requests import openapi_document as openapi
from agentd.templates.requests import request_template


def assemble(
    draft: ManifestDraft, file: str, files: Files, library: PromptLibrary
) -> tuple[AgentSpec | None, list[Problem]]:
    """The agent of the manifest `file`, or all that is wrong with its prompts and scripts."""
    assembly = _Assembly(draft, file, files, library)
    return assembly.spec(), assembly.problems


class _Assembly:
    """One manifest on its way to an agent; every step adds to `problems` what is wrong."""

    def __init__(
        self, draft: ManifestDraft, file: str, files: Files, library: PromptLibrary
    ) -> None:
        self.problems: list[Problem] = []
        self._draft = draft
        self._file = file
        self._files = files
        self._library = library
        self._names = _prompt_names(draft.manifest)

    def spec(self) -> AgentSpec | None:
        prompt = self._prompt()
        user_turn = self._inline("input")
        documents = self._documents()
        expressions = self._expressions()
        templates = self._templates()
        tools = self._tools()
        self._check_schema(documents)
        self._check_requests(documents)
        manifest = self._draft.manifest
        if manifest is None or prompt is None or errors(self.problems):
            return None
        digests = [prompt.digest, user_turn.digest if user_turn else ""]
        digests += [template.digest for template in templates.values()]
        digests += [hashlib.sha256(source).hexdigest() for source in tools.values()]
        return AgentSpec(
            name=manifest.name,
            manifest=_with(manifest, documents),
            prompt=prompt,
            input=user_turn,
            expressions=expressions,
            templates=templates,
            tools=tools,
            revision=_digest(self._draft.data, list(documents.items()), list(tools), digests),
            file=self._files.folder / self._file,
            project=self._files.tool_folder.parent,
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
        shown = self._files.prompt_path(name)
        if name not in self._library.sources:
            hint = (
                did_you_mean(name, self._library.sources)
                or "write it, or give `instructions:` here"
            )
            self._report(("prompt",), f"there is no {shown}", hint)
            return None
        if not self._library.sources[name].strip():
            # As an editor leaves it for a moment: it cuts the file before it writes it anew.
            self.problems.append(Problem(file=shown, text="the prompt is empty"))
            return None
        try:
            return self._library.compile(name, names=self._names)
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
            return self._library.compile_text(
                text, self._draft.file, line=line, column=column, names=self._names
            )
        except InvalidPrompt as error:
            self.problems += error.problems
            return None

    def _documents(self) -> dict[Loc, Any]:
        """What the files say that the manifest names, by the field that names them."""
        found: dict[Loc, Any] = {}
        for loc, name in files_of(self._draft, self._file):
            content = self._files.manifests.get(name)
            if content is None:
                folder = posixpath.dirname(self._file)
                known = [posixpath.relpath(each, folder or ".") for each in self._files.manifests]
                mend = did_you_mean(posixpath.relpath(name, folder or "."), known)
                text = f"there is no file {self._files.manifest_path(name)}"
                self._report(loc, text, mend or "it stands beside the manifests, as YAML or JSON")
                continue
            document = reader.read(content, self._files.manifest_path(name))
            self.problems += document.problems
            found[loc] = plain(document.root) if document.root else None
        return found

    def _expressions(self) -> dict[str, Expression]:
        found: dict[str, Expression] = {}
        if self._draft.manifest is None:
            return found
        for loc, text, names in expressions_of(self._draft.manifest):
            try:
                found[text] = compile_expression(text, names=names)
            except InvalidExpression as error:
                self._report(loc, str(error), error.hint)
        return found

    def _templates(self) -> dict[str, Prompt]:
        found: dict[str, Prompt] = {}
        for loc, text, names in templates_of(self._draft.manifest) if self._draft.manifest else ():
            try:
                found[text] = self._library.compile_text(text, self._draft.file, names=names)
            except InvalidPrompt as error:
                for problem in error.problems:
                    self._report(loc, problem.text, problem.hint)
        return found

    def _check_schema(self, documents: Mapping[Loc, Any]) -> None:
        output = self._draft.manifest.output if self._draft.manifest else None
        loc = ("output", "schema")
        schema = documents.get(loc, output.schema_ if output else None)
        if not isinstance(schema, dict):
            if loc in documents:
                self._report(loc, "holds no JSON Schema", "it must be a mapping")
            return
        if wrong := schema_error(schema):
            self._report(loc, f"is no JSON Schema: {wrong}", "see https://json-schema.org")

    def _tools(self) -> Mapping[str, bytes]:
        """The files of `tools/`, if the agent has one in them."""
        manifest, files = self._draft.manifest, self._files
        named = [(i, tool.python) for i, tool in enumerate(manifest.tools if manifest else ())]
        for index, python in named:
            name = (python or "").partition(":")[0]
            if name and name not in files.tools:
                mend = did_you_mean(name, files.tools) or "write it: a file with the function"
                self._report(("tools", index), f"there is no {files.tool_path(name)}", mend)
            elif name:
                mistake = python_source.syntax_problem(files.tools[name], files.tool_path(name))
                self.problems += [mistake] if mistake else []
        return files.tools if any(python for _, python in named) else {}

    def _check_requests(self, documents: Mapping[Loc, Any]) -> None:
        """What is wrong with `http:` and `openapi:` tools."""
        manifest = self._draft.manifest
        for index, tool in enumerate(_with(manifest, documents).tools if manifest else ()):
            for wrong in (*request_template.mistakes_of(tool), *openapi.mistakes_of(tool)):
                span = place(self._draft.root, ("tools", index, *wrong.loc))
                problem = span.problem(wrong.text, hint=wrong.hint, severity=wrong.severity)
                self.problems.append(problem)

    def _report(self, loc: Loc, text: str, hint: str) -> None:
        self.problems.append(place(self._draft.root, loc).problem(text, hint=hint))


def _prompt_names(manifest: Manifest | None) -> tuple[str, ...]:
    """What a prompt can name: also what its MCP servers give, where that is known."""
    if manifest is None:
        return (*CONTEXT_NAMES, *CONTEXT_FIELDS, "mcp")
    servers = [tool.mcp for tool in manifest.tools if tool.mcp]
    texts = (f"mcp.{name}" for server in servers for name in server.texts)
    return (*CONTEXT_NAMES, *CONTEXT_FIELDS, *texts)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _with(manifest: Manifest, documents: Mapping[Loc, Any]) -> Manifest:
    """`manifest` with what its files say in the place of their names."""
    changes: dict[str, Any] = {}
    for loc, content in documents.items():
        match loc:
            case ("output", _) if manifest.output:
                changes["output"] = manifest.output.model_copy(update={"schema_": content})
            case ("history", *_) if manifest.history and manifest.history.model:
                model = manifest.history.model.model_copy(update={"script": content})
                changes["history"] = manifest.history.model_copy(update={"model": model})
            case ("tools", int(index), "openapi", _):
                tools = list(changes.get("tools") or manifest.tools)
                if (declared := tools[index].openapi) is not None:
                    filled = declared.model_copy(update={"document": content})
                    tools[index] = tools[index].model_copy(update={"openapi": filled})
                changes["tools"] = tuple(tools)
            case (str(many), int(index), str(key)):
                parts = list(changes.get(many) or getattr(manifest, many))
                parts[index] = parts[index].model_copy(update={key: content})
                changes[many] = tuple(parts)
            case _:
                raise AssertionError(loc)
    return manifest.model_copy(update=changes) if changes else manifest


def _digest(*parts: Any) -> str:
    """A revision. Secrets are in it, as a new key must take effect; they cannot be read from it."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
