"""One manifest file by itself: its YAML, the folder's defaults and the environment, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agentd.manifest.agent import Manifest
from agentd.manifest.diagnose import diagnose, unconditional
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.interpolate import interpolate
from agentd.manifest.yaml.nodes import Map, Span, YamlSource, plain
from agentd.manifest.yaml.reader import Document
from agentd.problems import Problem, errors

# Their `$` belongs to another language: templates, expressions, patterns of a JSON Schema.
NOT_INTERPOLATED = frozenset({"instructions", "input", "emit", "output"})

_FRONT_MATTER = re.compile(
    r"\A(\ufeff?---[ \t]*\n.*?^)---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class PromptBody:
    """The prompt inside an `.agent.md` file, and the line where it begins."""

    text: str
    line: int


@dataclass(frozen=True)
class ManifestDraft:
    """What one file says, with the defaults of its folder, and variables filled in.

    Attributes:
        file: its name for people.
        manifest: None when it has errors.
        root: the fields with their places.
        data: the same as plain values, the name included.
        body: the prompt of an `.agent.md`.
    """

    file: str
    manifest: Manifest | None
    root: Map
    data: Mapping[str, Any]
    body: PromptBody | None
    problems: tuple[Problem, ...]


def read_defaults(content: bytes, file: str) -> Document:
    """A `_defaults.yaml`."""
    document = reader.read(content, file)
    root = document.root
    if root is None:
        return document
    if not isinstance(root, Map):
        return Document(
            None, (*document.problems, root.span.problem("must be a mapping of fields"))
        )
    if "name" in root.entries:
        wrong = root.entries["name"][0].span.problem("`name` cannot be shared")
        return Document(root, (*document.problems, wrong))
    return document


def read_manifest(
    content: bytes,
    file: str,
    *,
    stem: str,
    defaults: Sequence[Document],
    environ: Mapping[str, str],
) -> ManifestDraft:
    """The manifest in `content`. `defaults` are those of its folder and the folders above, nearest
    last; `stem` names the agent if it does not name itself; `file` is what problems show."""
    document, body = _split(content, file) if file.endswith(".agent.md") else (None, None)
    document = document or reader.read(content, file)
    problems = [p for given in (*defaults, document) for p in given.problems]
    own = document.root
    if not isinstance(own, Map):
        nothing = Map(Span(YamlSource(file, ()), 0, 0), {})
        return ManifestDraft(
            file, None, nothing, {}, body, (*problems, *_no_mapping(document, file))
        )
    if body:
        problems += _beside_body(own)
    root = own
    for given in reversed(defaults):
        if isinstance(given.root, Map):
            root = merge(given.root, root, prompted=body is not None)
    root, missing = interpolate(root, environ, skip=NOT_INTERPOLATED)
    problems += missing
    data = {"name": stem, **plain(root)}
    manifest, mistakes = _validate(data, root)
    # A line with a YAML mistake has odd values, too: one mistake, one problem.
    odd = {(p.file, p.line) for p in problems}
    problems += [p for p in mistakes if (p.file, p.line) not in odd]
    if manifest:
        problems += unconditional(manifest, root)
    valid = None if errors(problems) else manifest
    return ManifestDraft(file, valid, root, data, body, tuple(problems))


def merge(defaults: Map, own: Map, *, prompted: bool = False) -> Map:
    """`own` with what it leaves out taken from `defaults`: field by field, and inside mappings one
    level deep. `prompted` says that the prompt is given elsewhere."""
    entries = dict(defaults.entries)
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


def _split(content: bytes, file: str) -> tuple[Document | None, PromptBody | None]:
    """Front matter and prompt of an `.agent.md`; no document where the bytes are not even text."""
    try:
        text = content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None, None
    match = _FRONT_MATTER.match(text)
    if not match:
        mend = "begin with ---, the fields and ---; the prompt follows"
        wrong = Problem(file=file, text="no front matter", line=1, column=1, hint=mend)
        return Document(None, (wrong,)), None
    prompt = text[match.end() :]
    skipped = len(prompt) - len(prompt.lstrip("\n"))
    line = text.count("\n", 0, match.end()) + skipped + 1
    document = reader.read(match[1], file)
    if document.root is None and not document.problems:
        document = reader.read("{}", file)
    return document, PromptBody(prompt[skipped:], line)


def _no_mapping(document: Document, file: str) -> list[Problem]:
    if document.root is not None:
        mend = "write one `name: value` on each line, with a space after the colon"
        return [document.root.span.problem("a manifest is a mapping of fields", hint=mend)]
    if document.problems:
        return []
    return [Problem(file=file, text="is empty", hint="a manifest needs at least `capabilities`")]


def _beside_body(own: Map) -> list[Problem]:
    return [
        own.entries[name][0].span.problem(
            f"`{name}` stands beside the prompt below", hint="keep one"
        )
        for name in ("prompt", "instructions")
        if name in own.entries
    ]
