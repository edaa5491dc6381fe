"""Prompts: sandboxed Jinja templates, compiled once, rendered for each message.

A prompt sees `agent`, `message`, `content`, `context` and `now`, all of them plain data: what a
message says is a value in a template, never a template itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from traceback import walk_tb
from types import MappingProxyType
from typing import Any

from jinja2 import BaseLoader, Environment, Template, TemplateNotFound

from agentd.errors import PromptError, UsageError
from agentd.problems import Problem
from agentd.protocol.fields import Context
from agentd.protocol.message import AgentMessage
from agentd.templates.bounds import MAX_SIZE, BoundExceeded, Budget
from agentd.templates.sandbox import BUDGET, BoundedEnvironment
from agentd.templates.source import (
    PromptMistake,
    PromptSource,
    TemplatePlace,
    Use,
    compile_source,
    nearest,
)

CONTEXT_NAMES = ("agent", "content", "context", "message", "now")
_OF_AGENT = ("name", "description", "capabilities", "model")
_OF_MAPPINGS = ("get", "items", "keys", "values")
# The fields of those that have certain ones; what a sender adds of its own goes into the metadata.
CONTEXT_FIELDS = tuple(
    f"{name}.{field}"
    for name, fields in (
        ("agent", _OF_AGENT),
        ("context", Context.wire_names()),
        ("message", AgentMessage.wire_names()),
    )
    for field in (*fields, *_OF_MAPPINGS)
)
MAX_ERROR = 300  # characters of an error text: it may quote a message

_Members = Mapping[str, PromptSource]


class InvalidPrompt(UsageError):
    """A prompt that does not compile; `problems` are all mistakes in it and in its includes."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.render() for problem in self.problems))


@dataclass(frozen=True)
class Prompt:
    """A template compiled with all that it includes.

    Attributes:
        name: the file as people know it, `prompts/analyst.md`.
        digest: SHA-256 in hex of the texts that make it.
        includes: the names in the library of the other templates it needs, sorted.
        names: those of the context that it uses.
    """

    name: str
    digest: str
    includes: tuple[str, ...]
    names: frozenset[str]
    _template: Template = field(repr=False, compare=False)
    _places: Mapping[str, TemplatePlace] = field(repr=False, compare=False)

    def render(self, context: Mapping[str, Any]) -> str:
        """The text for a message, without space around it. `context` has plain data under each of
        the names that the prompt may use.

        Raises:
            PromptError: `file:line: what is wrong`; also when it takes longer than 0.25 s or makes
                more than a million characters.
        """
        return self.fill(context).strip()

    def fill(self, context: Mapping[str, Any]) -> str:
        """The same to the last space, for a text that is no prose: an argument, an address."""
        template = self._template
        values = {**template.environment.globals, **context, BUDGET: Budget()}
        try:
            pieces = template.root_render_func(template.new_context(values, shared=True))
            return _sendable("".join(pieces))
        except Exception as error:  # whatever the author's expressions raise, the author reads
            raise PromptError(f"{self._where(error)}: {in_words(error)}") from error

    def _where(self, error: Exception) -> str:
        for frame, line in reversed(list(walk_tb(error.__traceback__))):
            template = frame.f_globals.get("__jinja_template__")
            if template is not None:
                place = self._places[template.name]
                return place.at(template.get_corresponding_lineno(line))
        return self.name


class PromptLibrary:
    """The templates of a prompts folder as they were at one moment.

    A library made from the `previous` one compiles only what an edit changed.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        *,
        folder: str = "prompts",
        previous: PromptLibrary | None = None,
    ) -> None:
        """`sources`: name relative to the folder, with forward slashes, to text. `folder` is how
        people know it: it goes before the names in problems and errors."""
        self.sources: Mapping[str, str] = MappingProxyType(dict(sources))
        self.folder = folder
        self._environment = previous._environment if previous else BoundedEnvironment()
        self._compiled: dict[tuple[str, str], PromptSource] = {}
        self._linked: dict[str, Template] = {}
        # Not `previous` itself: it would keep all the libraries before it.
        self._compiled_before = previous._compiled if previous else {}
        self._linked_before = previous._linked if previous else {}

    def compile(self, name: str, *, names: Collection[str] | None = CONTEXT_NAMES) -> Prompt:
        """The prompt in the file `name` of the folder; `names` as below.

        Raises:
            InvalidPrompt: it is missing, or it or something it includes has mistakes.
        """
        text = self.sources.get(name)
        if text is None:
            hint = nearest(name, self.sources)
            raise InvalidPrompt(
                [Problem(file=self._place(name).file, text="no such file", hint=hint)]
            )
        return self._prompt(self._source(name, text), self._place(name), names)

    def compile_text(
        self,
        text: str,
        name: str,
        *,
        line: int = 1,
        column: int = 1,
        names: Collection[str] | None = CONTEXT_NAMES,
    ) -> Prompt:
        """The prompt `text`, which stands in the file `name` from `line` and `column` on.

        It may use `names`, and of one that is spelled with a dot, `mcp.readme`, only such fields;
        None lets it use any, and `Prompt.names` says which it does.

        Raises:
            InvalidPrompt: it or something it includes has mistakes.
        """
        return self._prompt(self._source("", text), TemplatePlace(name, line, column), names)

    def _prompt(
        self,
        root: PromptSource,
        place: TemplatePlace,
        names: Collection[str] | None = CONTEXT_NAMES,
    ) -> Prompt:
        members = self._closure(root)
        places = {name: self._place(name) for name in members} | {root.name: place}
        problems = [
            mistake.problem(member.text, places[member.name])
            for member in members.values()
            for mistake in (
                *member.mistakes,
                *self._mistakes_between(member, members),
                *_unknown(_from_context(member, root, members), names, members),
                *_unknown_fields(member, _from_context(member, root, members), names),
            )
        ]
        if problems:
            problems.sort(key=lambda it: (it.file != place.file, it.file, it.line, it.column))
            raise InvalidPrompt(problems)
        digests = [root.digest, *sorted(member.digest for member in members.values())]
        digest = hashlib.sha256("".join(digests).encode()).hexdigest()
        return Prompt(
            name=place.file,
            digest=digest,
            includes=tuple(sorted(members.keys() - {root.name})),
            names=frozenset(
                name for member in members.values() for name in _from_context(member, root, members)
            ),
            _template=self._template(digest, root, members),
            _places=places,
        )

    def _closure(self, root: PromptSource) -> _Members:
        """`root` and all templates that it needs."""
        members = {root.name: root}
        waiting = [root]
        while waiting:
            for name in waiting.pop().needs:
                if name in self.sources and name not in members:
                    members[name] = self._source(name, self.sources[name])
                    waiting.append(members[name])
        return members

    def _mistakes_between(self, member: PromptSource, members: _Members) -> Iterator[PromptMistake]:
        circle = _circle(members)
        for use in member.uses:
            yield from _missing(use, members, self.sources)
            if circle[:1] == [member.name] and circle[1] in use.names:
                path = " -> ".join(circle)
                yield PromptMistake(f"includes itself: {path}", use.line, circle[1])

    def _source(self, name: str, text: str) -> PromptSource:
        source = self._compiled.get((name, text)) or self._compiled_before.get((name, text))
        source = source or compile_source(self._environment, name, text)
        self._compiled[name, text] = source
        return source

    def _template(self, digest: str, root: PromptSource, members: _Members) -> Template:
        template = self._linked.get(digest) or self._linked_before.get(digest)
        template = template or _Linked(self._environment, members).templates[root.name]
        self._linked[digest] = template
        return template

    def _place(self, name: str) -> TemplatePlace:
        return TemplatePlace(f"{self.folder}/{name}")


class _Linked(BaseLoader):
    """The compiled templates of one prompt, which find each other and nothing else."""

    def __init__(self, environment: Environment, members: _Members) -> None:
        environment = environment.overlay(loader=self)
        codes = {name: member.code for name, member in members.items() if member.code}
        self.templates = {
            name: Template.from_code(environment, code, {}) for name, code in codes.items()
        }

    def load(
        self,
        environment: Environment,
        name: str,
        globals: Any = None,  # noqa: A002 (Jinja's name)
    ) -> Template:
        if name not in self.templates:
            raise TemplateNotFound(name)
        return self.templates[name]


def _missing(use: Use, members: _Members, sources: Iterable[str]) -> Iterator[PromptMistake]:
    name = next((name for name in use.names if name in members), None)
    if name is None:
        if not use.optional:
            name = use.names[0]
            yield PromptMistake(
                f"there is no prompt {name!r}", use.line, name, nearest(name, sources)
            )
        return
    for macro in use.wanted:
        if macro not in members[name].defined:
            hint = nearest(macro, members[name].defined)
            yield PromptMistake(f"{name!r} has no {macro!r}", use.line, macro, hint)


def _from_context(member: PromptSource, root: PromptSource, members: _Members) -> Mapping[str, int]:
    """The names that a template takes from the context, with the lines where it first does."""
    # What a template around it sets, an include sees too; which one that is, nobody knows here.
    around = members.values() if member is not root or member.inherits else ()
    visible = {name for other in around for name in other.defined}
    return {name: line for name, line in member.looked_up.items() if name not in visible}


def _unknown(
    taken: Mapping[str, int], names: Collection[str] | None, members: _Members
) -> Iterator[PromptMistake]:
    if names is None:
        return
    defined = {name for member in members.values() for name in member.defined}
    known = {name.partition(".")[0] for name in names}
    for name, line in taken.items():
        if name not in known:
            hint = nearest(name, known | defined)
            hint = hint or f"it knows {', '.join(sorted(known)) or 'no names'}"
            yield PromptMistake(f"there is no {name!r} here", line, name, hint)


def _unknown_fields(
    member: PromptSource, taken: Collection[str], names: Collection[str] | None
) -> Iterator[PromptMistake]:
    """Fields that are not there of names that have only some."""
    listed = [name for name in names or () if "." in name]
    owners = {name.partition(".")[0] for name in listed}.intersection(taken)
    for name, line in member.fields.items():
        owner, _, last = name.partition(".")
        if owner in owners and name not in listed:
            there = sorted(field for field in listed if field.startswith(f"{owner}."))
            hint = nearest(name, there) or f"there is {', '.join(there)}"
            yield PromptMistake(f"there is no {name!r} here", line, last, hint)


def _circle(members: _Members) -> list[str]:
    """Names of templates that include each other in a circle; the first one is also the last."""
    needs = {name: members.keys() & set(member.needs) for name, member in members.items()}
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def _sendable(text: str) -> str:
    if len(text) > MAX_SIZE:
        raise BoundExceeded(f"makes {len(text):,} characters; a prompt has at most {MAX_SIZE:,}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BoundExceeded("makes half a surrogate pair, which is no text") from None
    return text


def in_words(error: Exception) -> str:
    """What went wrong in a template, for its author."""
    if isinstance(error, RecursionError):
        return "calls itself too deeply"
    text = str(error) or type(error).__name__
    return text if len(text) <= MAX_ERROR else text[:MAX_ERROR] + "..."
