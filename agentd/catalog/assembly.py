"""Assembles an agent from a manifest, its prompts, tools and other files, or reports problems."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from agentd.catalog import python_source
from agentd.catalog.schemas import schema_problems
from agentd.catalog.sources import defaults_of, sources_of
from agentd.catalog.spec import AgentSpec, Loc, expressions_of, files_of, templates_of
from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import node_at
from agentd.manifest.file import ManifestDraft
from agentd.manifest.files import Files
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.nodes import Node, Scalar, Span, plain
from agentd.problems import Problem, did_you_mean, errors
from agentd.templates.expression import Expression, InvalidExpression, compile_expression
from agentd.templates.place import PromptProblem, as_written, in_node, place_of
from agentd.templates.prompts import (
    CONTEXT_FIELDS,
    CONTEXT_NAMES,
    InvalidPrompt,
    Prompt,
    PromptLibrary,
)
from agentd.templates.requests import openapi_document as openapi
from agentd.templates.requests import request_template

# One word with the ending of a text file.
_FILE_NAME = re.compile(r"[\w./-]{1,200}\.(md|txt|j2|jinja2?|prompt)", re.IGNORECASE)


def assemble(
    draft: ManifestDraft, file: str, files: Files, library: PromptLibrary
) -> tuple[AgentSpec | None, list[Problem]]:
    """The agent of the manifest `file`, and all problems of its prompts, tools and other files.

    With errors, in the draft or among the problems, the agent cannot run. What could be read of it
    is enough for further checks. It is None if too little could be read.
    """
    assembly = _Assembly(draft, file, files, library)
    spec = assembly.spec()
    # One mistake often makes more of them at the same place.
    reported = {(each.file, each.line, each.column) for each in errors(draft.problems)}
    places = ((each, (each.file, each.line, each.column)) for each in assembly.problems)
    return spec, [each for each, place in places if place not in reported]


class _Assembly:
    """Assembles one agent. Every step adds its problems to `problems`."""

    def __init__(
        self, draft: ManifestDraft, file: str, files: Files, library: PromptLibrary
    ) -> None:
        self.problems: list[Problem] = []
        self._draft = draft
        self._manifest = draft.sound.manifest if draft.sound else None
        self._root = draft.sound.root if draft.sound else draft.root
        self._data = plain(self._root)
        self._file = file
        self._files = files
        self._library = library
        self._names = _prompt_names(draft.manifest)

    def spec(self) -> AgentSpec | None:
        """The agent; None if there is no manifest. All steps run, to report all problems."""
        prompt = self._prompt()
        user_message = self._inline("input")
        documents = self._documents()
        expressions = self._expressions()
        templates = self._templates()
        tools = self._tools()
        self._check_call()
        self._check_requests(documents)
        self._check_schemas(documents, expressions)
        manifest = self._manifest
        if manifest is None:
            return None
        prompt = prompt or self._library.compile_text("", self._draft.file)
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
            root=self._root,
            sources=self._sources([prompt, user_message, *templates.values()], tools),
        )

    def _sources(
        self, prompts: Iterable[Prompt | None], tools: Iterable[str]
    ) -> Mapping[str, bytes]:
        """The files that the agent is made of, for the record."""
        named = (name for _, name in files_of(self._data, self._file))
        return sources_of(
            self._files,
            manifests=(*defaults_of(self._file), self._file, *named),
            prompts=(name for prompt in prompts if prompt for name in prompt.files),
            tools=tools,
            root=self._root,
        )

    def _prompt(self) -> Prompt | None:
        """The template of the system message: below the front matter, in a field, or in a file.

        The default file `{name}.md` is not looked for while the manifest has errors: the error may
        be a misspelt `prompt`.
        """
        draft = self._draft
        if draft.body:
            try:
                return self._library.compile_text(
                    draft.body.text, draft.file, line=draft.body.line, names=self._names
                )
            except InvalidPrompt as error:
                self.problems += error.problems
                return None
        if "call" in self._data:
            return None
        if "instructions" in self._data:
            self._check_instructions(self._data["instructions"])
            return self._inline("instructions")
        name = self._data.get("prompt")
        if name is None and draft.manifest:
            name = f"{draft.manifest.name}.md"
        return self._from_library(name) if isinstance(name, str) else None

    def _check_instructions(self, text: str) -> None:
        """Reports instructions that are only the name of a file: no model should get that."""
        name = text.strip()
        if not _FILE_NAME.fullmatch(name):
            return
        inside = name.removeprefix("./").removeprefix("prompts/")
        if inside in self._library.sources:
            hint = f"write `prompt: {inside}`"
        else:
            hint = f"put the file into prompts/, and write `prompt: {posixpath.basename(name)}`"
        text = f"`instructions` is the text of the prompt, and `{name}` looks like a file"
        self._report(("instructions",), text, hint)

    def _from_library(self, name: str) -> Prompt | None:
        path = self._files.prompt_path(name)
        if wrong := self._library.unreadable.get(name):
            self._report(("prompt",), f"the prompt {path} {wrong}", "")
            return None
        if name not in self._library.sources:
            hint = did_you_mean(name, self._library.sources)
            if re.search(r"\s", name.strip()):
                hint = hint or "to write the prompt itself here, use `instructions`"
            hint = hint or "create the file, or set `instructions` here"
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
        node = self._root.get(field)
        if not isinstance(node, Scalar) or not node.text:
            return None
        return self._compile(node, self._names)

    def _compile(self, node: Scalar, names: Collection[str] | None) -> Prompt | None:
        """The template in a value of the manifest."""
        at = place_of(node)
        try:
            return self._library.compile_text(
                node.text, at.file, line=at.line, column=at.column, names=names
            )
        except InvalidPrompt as error:
            # The others are in templates that it includes.
            self.problems += [
                as_written(each, node) if each.file == at.file else each for each in error.problems
            ]
            return None

    def _documents(self) -> dict[Loc, Any]:
        """The contents of the files that the manifest names, by the field that names them."""
        found: dict[Loc, Any] = {}
        for loc, name in files_of(self._data, self._file):
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
        for loc, text, names in expressions_of(self._manifest) if self._manifest else ():
            try:
                found[text] = compile_expression(text, names=names)
            except InvalidExpression as error:
                self.problems += (in_node(each, *self._at(loc)) for each in error.problems)
        return found

    def _templates(self) -> dict[str, Prompt]:
        """The compiled templates of the tools, by their text."""
        found: dict[str, Prompt] = {}
        for loc, text, names in templates_of(self._manifest) if self._manifest else ():
            node, _ = self._at(loc)
            template = self._compile(node, names) if isinstance(node, Scalar) else None
            if template:
                found[text] = template
        return found

    def _tools(self) -> Mapping[str, bytes]:
        """All files of `tools/` if the agent has a Python tool, else none."""
        manifest, files = self._manifest, self._files
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

    def _check_call(self) -> None:
        """Checks that the agent has the tool that it calls in place of a model."""
        manifest = self._manifest
        # The tools of a server or a document are only known when it is there.
        if not manifest or not manifest.call or any(t.mcp or t.openapi for t in manifest.tools):
            return
        wanted, names = manifest.call.tool, [t.name or t.own_name for t in manifest.tools]
        if wanted not in names:
            hint = did_you_mean(wanted, names) or "declare it under `tools`"
            self._report(("call", "tool"), f"there is no tool `{wanted}`", hint)

    def _check_requests(self, documents: Mapping[Loc, Any]) -> None:
        """Reports the problems of `http` and `openapi` tools."""
        manifest = self._manifest
        for index, tool in enumerate(_with(manifest, documents).tools if manifest else ()):
            for found in (*request_template.problems_of(tool), *openapi.problems_of(tool)):
                at = self._at(("tools", index, *found.loc))
                inner = PromptProblem(found.text, found.line, found.word, found.hint)
                self.problems.append(replace(in_node(inner, *at), severity=found.severity))

    def _check_schemas(
        self, documents: Mapping[Loc, Any], expressions: Mapping[str, Expression]
    ) -> None:
        """Checks the JSON Schemas, in the manifest or in files, and the rest against them."""
        if self._manifest:
            manifest = _with(self._manifest, documents)
            self.problems += schema_problems(manifest, self._root, documents, expressions)

    def _at(self, loc: Loc) -> tuple[Node, Span]:
        return node_at(self._root, loc)

    def _report(self, loc: Loc, text: str, hint: str) -> None:
        self.problems.append(self._at(loc)[1].problem(text, hint=hint))


def _prompt_names(manifest: Manifest | None) -> tuple[str, ...]:
    """The names that a prompt can use, with those of the MCP servers if the manifest is valid."""
    if manifest is None:
        return (*CONTEXT_NAMES, *CONTEXT_FIELDS, "mcp")
    # Without the names of the servers a misspelt one could not be found.
    servers = [tool.mcp for tool in manifest.tools if tool.mcp]
    texts = (f"mcp.{name}" for server in servers for name in server.texts)
    return (*CONTEXT_NAMES, *CONTEXT_FIELDS, *texts)


def _with(manifest: Manifest, documents: Mapping[Loc, Any]) -> Manifest:
    """`manifest` with the contents of its files in place of their names."""
    changes: dict[str, Any] = {}
    for loc, content in documents.items():
        match loc:
            case ("accepts",):
                changes["accepts"] = content
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
