"""Prompts: templates with their includes, compiled once and rendered for each message.

A prompt can use `agent`, `message`, `content`, `context` and `now`. All of them are plain data:
the text of a message is a value in a template and is never compiled as a template.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from traceback import walk_tb
from types import MappingProxyType
from typing import Any

from jinja2 import BaseLoader, Environment, Template, TemplateNotFound

from agentd.errors import PromptError, UsageError
from agentd.problems import Problem, did_you_mean
from agentd.protocol.fields import Context
from agentd.protocol.message import AgentMessage
from agentd.templates.bounds import MAX_SIZE, BoundExceeded, Budget
from agentd.templates.links import Members, context_names, link_problems
from agentd.templates.place import TemplatePlace
from agentd.templates.sandbox import BUDGET, BoundedEnvironment
from agentd.templates.source import (
    PromptSource,
    compile_source,
)

CONTEXT_NAMES = ("agent", "content", "context", "message", "now")
_OF_AGENT = ("name", "description", "capabilities", "model")
_OF_MAPPINGS = ("get", "items", "keys", "values")
# The fields of the names whose fields are fixed. Senders put their own fields into the metadata.
CONTEXT_FIELDS = tuple(
    f"{name}.{field}"
    for name, fields in (
        ("agent", _OF_AGENT),
        ("context", Context.wire_names()),
        ("message", AgentMessage.wire_names()),
    )
    for field in (*fields, *_OF_MAPPINGS)
)
MAX_ERROR = 300  # characters of an error text, which can quote a whole message


class InvalidPrompt(UsageError):
    """A prompt that does not compile; `problems` are those of the prompt and of its includes."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problem.render() for problem in self.problems))


@dataclass(frozen=True)
class Prompt:
    """A template, compiled together with all templates that it includes.

    Attributes:
        name: the file as users see it, such as `prompts/analyst.md`.
        digest: SHA-256, in hex, of the template and its includes.
        includes: the library's names of the other templates that it needs, sorted.
        files: the library's names of all templates that it consists of.
        names: the names of the context that it uses.
        reads: the names that it may read from the context, also those that a template sets itself
            in some cases. No other value is needed to render it.
    """

    name: str
    digest: str
    includes: tuple[str, ...]
    files: tuple[str, ...]
    names: frozenset[str]
    reads: frozenset[str]
    _template: Template = field(repr=False, compare=False)
    _places: Mapping[str, TemplatePlace] = field(repr=False, compare=False)
    _constant: str | None = field(default=None, repr=False, compare=False)

    def render(self, context: Mapping[str, Any]) -> str:
        """The text for a message, without whitespace at its ends.

        Args:
            context: plain data under each name that the prompt may use.

        Raises:
            PromptError: `file:line: problem`, for example a field that does not exist; also when
                the rendering takes longer than 0.25 s or makes more than a million characters.
        """
        return self.fill(context).strip()

    def fill(self, context: Mapping[str, Any]) -> str:
        """Like `render`, but keeps whitespace at the ends: for an argument or an address."""
        # Many prompts have no tags. For them a budget and a context are most of the time.
        if self._constant is not None:
            return self._constant
        template = self._template
        values = {**template.environment.globals, **context, BUDGET: Budget()}
        try:
            pieces = template.root_render_func(template.new_context(values, shared=True))
            return _checked_text("".join(pieces))
        # The author's expressions can raise any error of Python, such as ZeroDivisionError.
        except Exception as error:
            raise PromptError(f"{self._where(error)}: {error_text(error)}") from error

    def _where(self, error: Exception) -> str:
        """`file:line` of the innermost template in the traceback."""
        for frame, line in reversed(list(walk_tb(error.__traceback__))):
            template = frame.f_globals.get("__jinja_template__")
            if template is not None:
                place = self._places[template.name]
                return place.at(template.get_corresponding_lineno(line))
        return self.name


class PromptLibrary:
    """The templates of a prompts folder at one moment.

    A library that is made from the `previous` one compiles only the templates that have changed.
    """

    def __init__(
        self,
        sources: Mapping[str, str],
        *,
        folder: str = "prompts",
        unreadable: Mapping[str, str] = MappingProxyType({}),
        previous: PromptLibrary | None = None,
    ) -> None:
        """Creates a library; it compiles templates when they are first used.

        Args:
            sources: the texts by name, relative to the folder, with forward slashes.
            folder: the folder as users see it: problems and errors show it before the name.
            unreadable: files of the folder that are no texts, by name, with what is wrong.
            previous: the library before the edit.
        """
        self.sources: Mapping[str, str] = MappingProxyType(dict(sources))
        self.folder = folder
        self.unreadable = unreadable
        self._environment = previous._environment if previous else BoundedEnvironment()
        self._compiled: dict[tuple[str, str], PromptSource] = {}
        self._linked: dict[str, Template] = {}
        # Keeping `previous` itself would keep all earlier libraries in memory.
        self._compiled_before = previous._compiled if previous else {}
        self._linked_before = previous._linked if previous else {}

    def compile(self, name: str, *, names: Collection[str] | None = CONTEXT_NAMES) -> Prompt:
        """The prompt in the file `name` of the folder; `names` as in `compile_text`.

        Raises:
            InvalidPrompt: the file does not exist, or it or one of its includes has problems.
        """
        text = self.sources.get(name)
        if text is None:
            hint = did_you_mean(name, self.sources)
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
        """The prompt `text`, which begins at `line` and `column` of the file `name`.

        Args:
            names: the names that it may use; None for any. If some of them have a dot, such as
                `mcp.readme`, then only these fields of `mcp` may be used.

        Raises:
            InvalidPrompt: the text or one of its includes has problems.
        """
        # Compiled under the name "", so that agents with the same inline text share its code.
        return self._prompt(self._source("", text), TemplatePlace(name, line, column), names)

    def _prompt(
        self,
        root: PromptSource,
        place: TemplatePlace,
        names: Collection[str] | None = CONTEXT_NAMES,
    ) -> Prompt:
        members = self._closure(root)
        known = {**dict.fromkeys(self.sources, ""), **self.unreadable}
        places = {name: self._place(name) for name in members} | {root.name: place}
        problems = [
            problem.in_file(member.text, places[member.name])
            for member in members.values()
            for problem in (*member.problems, *link_problems(member, root, members, known, names))
        ]
        if problems:
            # Those of the prompt itself come before those of its includes.
            problems.sort(key=lambda it: (it.file != place.file, it.file, it.line, it.column))
            raise InvalidPrompt(problems)
        digests = [root.digest, *sorted(member.digest for member in members.values())]
        digest = hashlib.sha256("".join(digests).encode()).hexdigest()
        return Prompt(
            name=place.file,
            digest=digest,
            includes=tuple(sorted(members.keys() - {root.name})),
            files=tuple(sorted(filter(None, members))),  # a text in a manifest has no name
            names=frozenset(
                name for member in members.values() for name in context_names(member, root, members)
            ),
            reads=frozenset().union(*(member.looked_up for member in members.values())),
            _template=self._template(digest, root, members),
            _places=places,
            _constant=root.constant,
        )

    def _closure(self, root: PromptSource) -> Members:
        """`root` and all templates that it needs, directly or through others."""
        members = {root.name: root}
        waiting = [root]
        while waiting:
            for name in waiting.pop().needs:
                if name in self.sources and name not in members:
                    members[name] = self._source(name, self.sources[name])
                    waiting.append(members[name])
        return members

    def _source(self, name: str, text: str) -> PromptSource:
        source = self._compiled.get((name, text)) or self._compiled_before.get((name, text))
        source = source or compile_source(self._environment, name, text)
        self._compiled[name, text] = source
        return source

    def _template(self, digest: str, root: PromptSource, members: Members) -> Template:
        template = self._linked.get(digest) or self._linked_before.get(digest)
        template = template or _Linked(self._environment, members).templates[root.name]
        self._linked[digest] = template
        return template

    def _place(self, name: str) -> TemplatePlace:
        return TemplatePlace(f"{self.folder}/{name}")


class _Linked(BaseLoader):
    """The loader of one prompt: its templates find each other and no other template."""

    def __init__(self, environment: Environment, members: Members) -> None:
        # Prompts of two libraries use one environment, but the same name can have another text
        # in each. So each prompt gets its own loader.
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


def _checked_text(text: str) -> str:
    """`text`, if it can be sent.

    Raises:
        BoundExceeded: it is too long, or it cannot be encoded in UTF-8.
    """
    if len(text) > MAX_SIZE:
        raise BoundExceeded(f"makes {len(text):,} characters; the limit is {MAX_SIZE:,}")
    # A template can write '\ud800' or cut a text into characters that UTF-8 cannot encode. The
    # request to the model would fail later, with an error that does not name the prompt.
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BoundExceeded("makes half a surrogate pair, which is not valid text") from None
    return text


def error_text(error: Exception) -> str:
    """The text of an error in a template, for its author."""
    if isinstance(error, RecursionError):
        return "calls itself too deeply"
    text = str(error) or type(error).__name__
    return text if len(text) <= MAX_ERROR else text[:MAX_ERROR] + "..."
