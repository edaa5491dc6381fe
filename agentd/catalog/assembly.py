"""Assembles an agent from a manifest, its prompts, tools and other files, or reports problems."""

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
from agentd.manifest.diagnose import place
from agentd.manifest.file import ManifestDraft
from agentd.manifest.files import Files
from agentd.manifest.json_schema.check import schema_error
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.nodes import Scalar, plain
from agentd.problems import Problem, did_you_mean, errors
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
    """The agent of the manifest `file`, and all problems of its prompts, tools and other files.

    The agent is None if there are errors.
    """
    assembly = _Assembly(draft, file, files, library)
    return assembly.spec(), assembly.problems


class _Assembly:
    """Assembles one agent. Every step adds its problems to `problems`."""

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
        """The agent; None if there are errors. All steps run, so that all problems are reported."""
        prompt = self._prompt()
        user_message = self._inline("input")
        documents = self._documents()
        expressions = self._expressions()
        templates = self._templates()
        tools = self._tools()
        self._check_schema(documents)
        self._check_requests(documents)
        manifest = self._draft.manifest
        if manifest is None or prompt is None or errors(self.problems):
            return None
        # Prompts by their digests, which include the prompts that they include.
        digests = [prompt.digest, user_message.digest if user_message else ""]
        digests += [template.digest for template in templates.values()]
        digests += [hashlib.sha256(source).hexdigest() for source in tools.values()]
        return AgentSpec(
            name=manifest.name,
            manifest=_with(manifest, documents),
            prompt=prompt,
            input=user_message,
            expressions=expressions,
            templates=templates,
            tools=tools,
            revision=_digest(self._draft.data, list(documents.items()), list(tools), digests),
            file=self._files.folder / self._file,
            project=self._files.tool_folder.parent,
            root=self._draft.root,
        )

    def _prompt(self) -> Prompt | None:
        """The template of the system message: below the front matter, in a field, or in a file.

        The default file `{name}.md` is not looked for while the manifest has errors: the error may
        be a misspelt `prompt`.
        """
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
        path = self._files.prompt_path(name)
        if name not in self._library.sources:
            hint = (
                did_you_mean(name, self._library.sources)
                or "create the file, or set `instructions` here"
            )
            self._report(("prompt",), f"there is no file {path}", hint)
            return None
        if not self._library.sources[name].strip():
            # Some editors empty a file for a moment while they save it. That must not become live.
            self.problems.append(Problem(file=path, text="the prompt is empty"))
            return None
        try:
            return self._library.compile(name, names=self._names)
        except InvalidPrompt as error:
            self.problems += error.problems
            return None

    def _inline(self, field: str) -> Prompt | None:
        """The template in a field of the manifest."""
        node = self._draft.root.get(field)
        if not isinstance(node, Scalar) or not node.text:
            return None
        # Where the text itself begins: after the quote, or on the line after the `|`.
        line, column = node.span.line, node.span.column + (node.style == "quoted")
        if node.style == "literal":
            line, column = line + 1, 1 + _indent(node.span.source.line(line + 1))
        earlier = len(self.problems)
        prompt = self._compile(node.text, line=line, column=column)
        self.problems[earlier:] = [self._placed(each, node) for each in self.problems[earlier:]]
        return prompt

    def _placed(self, problem: Problem, node: Scalar) -> Problem:
        """A problem of an inline template, with its line of the file.

        If YAML has folded or unescaped the text, its lines and columns are not those of the file.
        Then the place is the whole value.
        """
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
        """The contents of the files that the manifest names, by the field that names them."""
        found: dict[Loc, Any] = {}
        for loc, name in files_of(self._draft, self._file):
            content = self._files.manifests.get(name)
            if content is None:
                folder = posixpath.dirname(self._file)
                known = [posixpath.relpath(each, folder or ".") for each in self._files.manifests]
                hint = did_you_mean(posixpath.relpath(name, folder or "."), known)
                text = f"there is no file {self._files.manifest_path(name)}"
                self._report(loc, text, hint or "put it beside the manifest, as YAML or JSON")
                continue
            # JSON is read as YAML, of which it is a part.
            document = reader.read(content, self._files.manifest_path(name))
            self.problems += document.problems
            found[loc] = plain(document.root) if document.root else None
        return found

    def _expressions(self) -> dict[str, Expression]:
        """The compiled expressions, by their text: equal texts are compiled once."""
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
        """The compiled templates of the tools, by their text."""
        found: dict[str, Prompt] = {}
        for loc, text, names in templates_of(self._draft.manifest) if self._draft.manifest else ():
            try:
                found[text] = self._library.compile_text(text, self._draft.file, names=names)
            except InvalidPrompt as error:
                for problem in error.problems:
                    self._report(loc, problem.text, problem.hint)
        return found

    def _check_schema(self, documents: Mapping[Loc, Any]) -> None:
        """Checks the JSON Schema of the answer, in the manifest or in a file."""
        output = self._draft.manifest.output if self._draft.manifest else None
        loc = ("output", "schema")
        schema = documents.get(loc, output.schema_ if output else None)
        if not isinstance(schema, dict):
            if loc in documents:
                self._report(loc, "the file does not hold a JSON Schema", "a schema is a mapping")
            return
        if error := schema_error(schema):
            text = f"`output.schema` is not a valid JSON Schema: {error}"
            self._report(loc, text, "see https://json-schema.org")

    def _tools(self) -> Mapping[str, bytes]:
        """All files of `tools/` if the agent has a Python tool, else none."""
        manifest, files = self._draft.manifest, self._files
        named = [(i, tool.python) for i, tool in enumerate(manifest.tools if manifest else ())]
        for index, python in named:
            name = (python or "").partition(":")[0]
            if name and name not in files.tools:
                hint = did_you_mean(name, files.tools) or "create the file with this function"
                self._report(("tools", index), f"there is no file {files.tool_path(name)}", hint)
            elif name:
                problem = python_source.syntax_problem(files.tools[name], files.tool_path(name))
                self.problems += [problem] if problem else []
        return files.tools if any(python for _, python in named) else {}

    def _check_requests(self, documents: Mapping[Loc, Any]) -> None:
        """Reports the problems of `http` and `openapi` tools."""
        manifest = self._draft.manifest
        for index, tool in enumerate(_with(manifest, documents).tools if manifest else ()):
            for found in (*request_template.problems_of(tool), *openapi.problems_of(tool)):
                span = place(self._draft.root, ("tools", index, *found.loc))
                problem = span.problem(found.text, hint=found.hint, severity=found.severity)
                self.problems.append(problem)

    def _report(self, loc: Loc, text: str, hint: str) -> None:
        self.problems.append(place(self._draft.root, loc).problem(text, hint=hint))


def _prompt_names(manifest: Manifest | None) -> tuple[str, ...]:
    """The names that a prompt can use, with those of the MCP servers if the manifest is valid."""
    if manifest is None:
        return (*CONTEXT_NAMES, *CONTEXT_FIELDS, "mcp")
    # Without the names of the servers a misspelt one could not be found.
    servers = [tool.mcp for tool in manifest.tools if tool.mcp]
    texts = (f"mcp.{name}" for server in servers for name in server.texts)
    return (*CONTEXT_NAMES, *CONTEXT_FIELDS, *texts)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _with(manifest: Manifest, documents: Mapping[Loc, Any]) -> Manifest:
    """`manifest` with the contents of its files in place of their names."""
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
            case (str(field), int(index), str(key)):
                parts = list(changes.get(field) or getattr(manifest, field))
                parts[index] = parts[index].model_copy(update={key: content})
                changes[field] = tuple(parts)
            case _:
                raise AssertionError(loc)
    return manifest.model_copy(update=changes) if changes else manifest


def _digest(*parts: Any) -> str:
    """The revision: a digest.

    It includes secrets, so that a new key takes effect. They cannot be read from the digest.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
