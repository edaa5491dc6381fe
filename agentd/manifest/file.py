"""Reads one manifest file: its YAML, the defaults of its folder, variables and all fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from agentd.manifest.agent import NOT_INTERPOLATED, OF_MODELS, Manifest
from agentd.manifest.diagnose import diagnose, places_of, warn_if_no_model_is_left
from agentd.manifest.yaml import reader
from agentd.manifest.yaml.interpolate import interpolate
from agentd.manifest.yaml.nodes import Map, Node, Scalar, Seq, Span, YamlSource, plain
from agentd.manifest.yaml.reader import Document
from agentd.problems import Problem, errors

_LISTS = ("tools", "emit", "model", "triggers")  # fields whose items are independent of each other
_ROUNDS = 5  # of the validation: one for the fields, and the others for fields together
_UNNAMED = "unnamed"

_FRONT_MATTER = re.compile(
    r"\A(\ufeff?---[ \t]*\n.*?^)---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class PromptBody:
    """The prompt in an `.agent.md` file, and the number of the line where it begins."""

    text: str
    line: int


@dataclass(frozen=True)
class SoundPart:
    """A manifest without the fields that have errors, so that the others can be checked further.

    Attributes:
        manifest: the rest of the manifest. A list of tools, rules or models lacks only the items
            that have errors.
        root: its fields with their places.
    """

    manifest: Manifest
    root: Map


@dataclass(frozen=True)
class ManifestDraft:
    """The contents of one manifest file, with the defaults of its folder and variables filled in.

    Attributes:
        file: the path of the file, as problems show it.
        manifest: the checked manifest; None if the file has errors.
        sound: the part of it that has no errors; None if nothing could be read.
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
    sound: SoundPart | None = None


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
    sound, invalid = _validate(root, stem)
    # A YAML error on a line often makes the value of the field invalid too. Report only the former.
    reported = {(p.file, p.line) for p in problems}
    problems += [p for p in invalid if (p.file, p.line) not in reported]
    if sound:
        problems += warn_if_no_model_is_left(sound.manifest, root)
    valid = sound.manifest if sound and not errors(problems) else None
    data = {"name": stem, **plain(root)}
    return ManifestDraft(file, valid, root, data, body, tuple(problems), sound)


def merge(defaults: Map, own: Map, *, prompted: bool = False) -> Map:
    """`own`, with the fields that it leaves out taken from `defaults`.

    Mappings are merged one level deep. `prompted` says that the manifest has its prompt outside
    the fields, below the front matter.
    """
    entries = dict(defaults.entries)
    if "call" in own.entries:
        for name in OF_MODELS:
            entries.pop(name, None)
    # `prompt` and `instructions` exclude each other, so one of them also replaces the other.
    if prompted or {"prompt", "instructions"} & own.entries.keys():
        for name in ("prompt", "instructions"):
            entries.pop(name, None)
    # Those of the manifest come first: its problems are placed at the first of them.
    merged = dict(own.entries)
    for name, (key, value) in own.entries.items():
        lower = defaults.get(name)
        if isinstance(lower, Map) and isinstance(value, Map):
            merged[name] = (key, Map(value.span, {**lower.entries, **value.entries}))
    rest = {name: each for name, each in entries.items() if name not in merged}
    return Map(own.span, merged | rest)


def _validate(root: Map, stem: str) -> tuple[SoundPart | None, list[Problem]]:
    """The sound part of the manifest, and the problems of the rest.

    Some checks need several fields, and pydantic runs them only if each of these is valid. So the
    rest is checked again without the fields that have errors.
    """
    empty = [name for name, (_, value) in root.entries.items() if _is_empty(value)]
    problems = [_no_value(root.entries[name][0]) for name in empty]
    root = without(root, [[name] for name in empty])
    required: dict[str, Any] = {"name": stem}
    required |= {"capabilities": []} if "capabilities" in empty else {}
    for _ in range(_ROUNDS):
        try:
            manifest = Manifest.model_validate({**required, **plain(root)})
            return SoundPart(manifest, root), problems
        except ValidationError as error:
            problems += diagnose(error, root)
            places = places_of(error)
            root = without(root, places)
            required |= {"capabilities": []}
            required |= {"name": _UNNAMED} if ("name",) in places else {}
    return None, problems


def _is_empty(value: Node) -> bool:
    """Whether nothing is written after the colon. `null` is a value."""
    return isinstance(value, Scalar) and value.style == "plain" and not value.text


def _no_value(key: Scalar) -> Problem:
    rest = key.span.source.line(key.span.line)[key.span.column + len(key.text) :]
    comment = "`#` begins a comment: quote a text that begins with it"
    hint = comment if rest.lstrip().startswith("#") else "write one, or delete the line"
    return key.span.problem(f"`{key.text}` has no value", hint=hint)


def without(root: Map, places: Iterable[Sequence[str | int]]) -> Map:
    """`root` without the fields at `places`.

    Of a list of tools, rules or models only the item is removed, unless no other is left.
    """
    entries = dict(root.entries)
    removed: dict[str, set[int]] = {}
    for field, *inner in filter(None, places):
        index = next((step for step in inner if isinstance(step, int)), None)
        if field in _LISTS and index is not None:
            removed.setdefault(str(field), set()).add(index)
        else:
            entries.pop(str(field), None)
    for field, indexes in removed.items():
        if field in entries:
            key, value = entries.pop(field)
            rest = _without_items(value, indexes)
            entries |= {field: (key, rest)} if rest else {}
    return Map(root.span, entries)


def _without_items(value: Node, indexes: Collection[int]) -> Node | None:
    """A list, or a mapping that holds one, without these items; None if none is left."""
    if isinstance(value, Seq):
        items = tuple(item for i, item in enumerate(value.items) if i not in indexes)
        return Seq(value.span, items) if items else None
    for name in ("rules", "routes"):
        if isinstance(value, Map) and name in value.entries:
            key, inner = value.entries[name]
            rest = _without_items(inner, indexes)
            return Map(value.span, {**value.entries, name: (key, rest)}) if rest else None
    return None


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
        for name in ("prompt", "instructions", "call")
        if name in own.entries
    ]
