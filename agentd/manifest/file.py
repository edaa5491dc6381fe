"""Reads one manifest file: its YAML, the defaults of its folder, variables and all fields."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import diagnose, warn_if_no_model_is_left
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.interpolate import interpolate
from agentd.manifest.yaml.nodes import Map, Span, YamlSource, plain
from agentd.manifest.yaml.reader import Document
from agentd.problems import Problem, errors

# Fields in which `$` belongs to another language: templates, expressions, patterns of JSON Schemas.
NOT_INTERPOLATED = frozenset({"instructions", "input", "emit", "output"})

_FRONT_MATTER = re.compile(
    r"\A(\ufeff?---[ \t]*\n.*?^)---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class PromptBody:
    """The prompt in an `.agent.md` file, and the number of the line where it begins."""

    text: str
    line: int


@dataclass(frozen=True)
class ManifestDraft:
    """The contents of one manifest file, with the defaults of its folder and variables filled in.

    Attributes:
        file: the path of the file, as problems show it.
        manifest: the checked manifest; None if the file has errors.
        root: the fields with their places. A field may stand in another file, a `_defaults.yaml`.
        data: the fields as plain values, including the name.
        body: the prompt of an `.agent.md` file.
        problems: errors and warnings, also those of the defaults.
    """

    file: str
    manifest: Manifest | None
    root: Map
    data: Mapping[str, Any]
    body: PromptBody | None
    problems: tuple[Problem, ...]


def read_defaults(content: bytes, file: str) -> Document:
    """Reads a `_defaults.yaml`."""
    document = reader.read(content, file)
    root = document.root
    if root is None:
        return document
    if not isinstance(root, Map):
        return Document(
            None, (*document.problems, root.span.problem("must be a mapping of fields"))
        )
    if "name" in root.entries:
        problem = root.entries["name"][0].span.problem(
            "`name` cannot have a default", hint="every agent needs a name of its own"
        )
        return Document(root, (*document.problems, problem))
    return document


def read_manifest(
    content: bytes,
    file: str,
    *,
    stem: str,
    defaults: Sequence[Document],
    environ: Mapping[str, str],
) -> ManifestDraft:
    """Reads the manifest in `content`.

    Args:
        file: the path of the file, as problems show it.
        stem: the name of the agent if the manifest has no `name`.
        defaults: the defaults of the file's folder and of the folders above, the nearest last.
        environ: the variables for `${…}`.
    """
    document, body = _front_matter(content, file) if file.endswith(".agent.md") else (None, None)
    document = document or reader.read(content, file)
    problems = [p for given in (*defaults, document) for p in given.problems]
    own = document.root
    if not isinstance(own, Map):
        empty = Map(Span(YamlSource(file, ()), 0, 0), {})
        problems += _not_a_mapping(document, file)
        return ManifestDraft(file, None, empty, {}, body, tuple(problems))
    if body:
        problems += _prompt_fields_beside_body(own)
    root = own
    for given in reversed(defaults):
        if isinstance(given.root, Map):
            root = merge(given.root, root, prompted=body is not None)
    root, unresolved = interpolate(root, environ, skip=NOT_INTERPOLATED)
    problems += unresolved
    data = {"name": stem, **plain(root)}
    manifest, invalid = _validate(data, root)
    # A YAML error on a line often makes the value of the field invalid too. Report only the former.
    reported = {(p.file, p.line) for p in problems}
    problems += [p for p in invalid if (p.file, p.line) not in reported]
    if manifest:
        problems += warn_if_no_model_is_left(manifest, root)
    valid = None if errors(problems) else manifest
    return ManifestDraft(file, valid, root, data, body, tuple(problems))


def merge(defaults: Map, own: Map, *, prompted: bool = False) -> Map:
    """`own`, with the fields that it leaves out taken from `defaults`.

    Mappings are merged one level deep. `prompted` says that the manifest has its prompt outside
    the fields, below the front matter.
    """
    entries = dict(defaults.entries)
    # `prompt` and `instructions` exclude each other, so one of them also replaces the other.
    if prompted or {"prompt", "instructions"} & own.entries.keys():
        for name in ("prompt", "instructions"):
            entries.pop(name, None)
    for name, (key, value) in own.entries.items():
        lower = defaults.get(name)
        if isinstance(lower, Map) and isinstance(value, Map):
            value = Map(value.span, {**lower.entries, **value.entries})
        entries[name] = (key, value)
    return Map(own.span, entries)


def _validate(data: Mapping[str, Any], root: Map) -> tuple[Manifest | None, list[Problem]]:
    try:
        return Manifest.model_validate(data), []
    except ValidationError as error:
        return None, diagnose(error, root)


def _front_matter(content: bytes, file: str) -> tuple[Document | None, PromptBody | None]:
    """The front matter and the prompt of an `.agent.md` file.

    If the bytes are not text, both are None: the YAML reader reports that.
    """
    try:
        text = content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None, None
    match = _FRONT_MATTER.match(text)
    if not match:
        hint = "begin with a line ---, the fields and another line ---, then write the prompt"
        problem = Problem(file=file, text="has no front matter", line=1, column=1, hint=hint)
        return Document(None, (problem,)), None
    prompt = text[match.end() :]
    skipped = len(prompt) - len(prompt.lstrip("\n"))
    line = text.count("\n", 0, match.end()) + skipped + 1
    document = reader.read(match[1], file)
    if document.root is None and not document.problems:
        # Empty front matter is no error by itself: the defaults may have all required fields.
        document = reader.read("{}", file)
    return document, PromptBody(prompt[skipped:], line)


def _not_a_mapping(document: Document, file: str) -> list[Problem]:
    if document.root is not None:
        hint = "write one `name: value` on each line, with a space after the colon"
        return [document.root.span.problem("must be a mapping of fields", hint=hint)]
    if document.problems:
        return []
    return [Problem(file=file, text="is empty", hint="a manifest needs at least `capabilities`")]


def _prompt_fields_beside_body(own: Map) -> list[Problem]:
    return [
        own.entries[name][0].span.problem(
            f"`{name}` cannot be combined with a prompt below the front matter",
            hint="keep one of them",
        )
        for name in ("prompt", "instructions")
        if name in own.entries
    ]
