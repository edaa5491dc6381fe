"""One template text: its code, what it needs from outside, and every mistake in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from types import CodeType

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError

from agentd.problems import Problem
from agentd.templates.compiler import generate
from agentd.templates.sandbox import BoundedEnvironment

MAX_SOURCE = 256_000  # characters


_UseNode = nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport


@dataclass(frozen=True)
class TemplatePlace:
    """Where a text begins: text inside a manifest is further down, and indented."""

    file: str
    line: int = 1
    column: int = 1

    def at(self, line: int) -> str:
        """`file:line` of a line of the text."""
        return f"{self.file}:{self.line + line - 1}"


@dataclass(frozen=True)
class PromptMistake:
    """What is wrong in a text, `word` being what to underline in its `line` (0: no place)."""

    text: str
    line: int = 0
    word: str = ""
    hint: str = ""

    def problem(self, source: str, place: TemplatePlace) -> Problem:
        """The same as a problem of the file that has the text."""
        if not self.line:
            return Problem(file=place.file, text=self.text, hint=self.hint)
        text = _line(source, self.line)
        column = _column(text, self.word)
        return Problem(
            file=place.file,
            line=place.line + self.line - 1,
            column=column and place.column + column - 1,
            width=max(1, len(self.word)),
            source=" " * (place.column - 1) + text,
            text=self.text,
            hint=self.hint,
        )


@dataclass(frozen=True)
class Use:
    """An include, import or extends: `names` to try, one of which must be there unless `optional`,
    and the `wanted` macros of a `from ... import`."""

    names: tuple[str, ...]
    line: int
    optional: bool = False
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptSource:
    """A template's text, compiled; without code if there are mistakes.

    Attributes:
        uses: the other templates that it needs.
        looked_up: names that it takes from the context or from a template around it, with lines.
        defined: names that it sets, here or there.
        inherits: whether it extends another template.
        fields: the fields of those names that it takes, `context.metadata`, with lines.
    """

    name: str
    text: str = field(repr=False)
    code: CodeType | None = None
    mistakes: tuple[PromptMistake, ...] = ()
    uses: tuple[Use, ...] = ()
    looked_up: Mapping[str, int] = field(default_factory=dict[str, int])
    defined: frozenset[str] = frozenset()
    inherits: bool = False
    fields: Mapping[str, int] = field(default_factory=dict[str, int])

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The names of all templates in `uses`."""
        return tuple(name for use in self.uses for name in use.names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of name and text, in hex."""
        return hashlib.sha256(f"{self.name}\0{self.text}".encode()).hexdigest()


def compile_source(environment: BoundedEnvironment, name: str, text: str) -> PromptSource:
    """Compiles a text; mistakes are in the answer, none is raised."""
    if len(text) > MAX_SOURCE:
        return _broken(name, text, PromptMistake(f"a prompt has at most {MAX_SOURCE:,} characters"))
    try:
        tree = environment.parse(text, name)
        mistakes = tuple(_mistakes(tree, environment))
        python, looked_up = generate(environment, tree, name)
        code = None if mistakes else compile(python, f"<prompt {name}>", "exec")
    except TemplateSyntaxError as error:
        return _broken(name, text, _syntax_mistake(error, text))
    except RecursionError:
        return _broken(name, text, PromptMistake("is nested too deeply"))
    # Jinja leaves some checks to Python's compiler: keywords given twice, 20 loops in each other.
    except (SyntaxError, ValueError, OverflowError, MemoryError) as error:
        return _broken(
            name, text, PromptMistake(f"cannot be compiled: {getattr(error, 'msg', error)}")
        )
    return PromptSource(
        name,
        text,
        code,
        mistakes,
        uses=tuple(_use(node) for node in tree.find_all(_USES) if _names(node)),
        looked_up=_first_lines(tree, looked_up),
        defined=frozenset(_defined(tree)),
        inherits=tree.find(nodes.Extends) is not None,
        fields=_fields(tree, looked_up),
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the one of `known` that was probably meant, "" if none is near."""
    near = get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _broken(name: str, text: str, *mistakes: PromptMistake) -> PromptSource:
    return PromptSource(name, text, mistakes=mistakes)


def _mistakes(tree: nodes.Template, environment: BoundedEnvironment) -> Iterator[PromptMistake]:
    known = {nodes.Filter: environment.filters, nodes.Test: environment.tests}
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        if node.name not in known[type(node)]:
            text = f"there is no {type(node).__name__.lower()} {node.name!r}"
            yield PromptMistake(text, node.lineno, node.name, nearest(node.name, known[type(node)]))
            node.name = next(iter(known[type(node)]))  # lets the rest of the text be checked too
    for node in tree.find_all(_USES):
        # Which prompts belong to a revision must be known when it is loaded, not by a message.
        if not _names(node):
            text = f"{type(node).__name__.lower()} needs a fixed name in quotes"
            yield PromptMistake(text, node.lineno, hint="choose between them with {% if %}")
    for node in tree.find_all(nodes.ScopedEvalContextModifier):
        hint = "use the filter 'escape' where data stands inside tags"
        yield PromptMistake(
            "prompts are plain text: no autoescape", node.lineno, "autoescape", hint
        )


def _names(node: _UseNode) -> tuple[str, ...]:
    """The templates that an include, import or extends names, () if they are not fixed."""
    given = node.template
    parts = [given]
    if isinstance(node, nodes.Include) and isinstance(given, (nodes.List, nodes.Tuple)):
        parts = given.items
    names = [part.value for part in parts if isinstance(part, nodes.Const)]
    fixed = len(names) == len(parts) and all(isinstance(name, str) for name in names)
    return tuple(names) if fixed else ()


def _use(node: _UseNode) -> Use:
    optional = isinstance(node, nodes.Include) and node.ignore_missing
    wanted = node.names if isinstance(node, nodes.FromImport) else []
    originals = tuple(name if isinstance(name, str) else name[0] for name in wanted)
    return Use(_names(node), node.lineno, optional=optional, wanted=originals)


def _first_lines(tree: nodes.Template, names: Iterable[str]) -> Mapping[str, int]:
    lines = dict.fromkeys(sorted(names), 0)
    for node in tree.find_all(nodes.Name):
        if lines.get(node.name) == 0 and node.ctx == "load":
            lines[node.name] = node.lineno
    return lines


def _fields(tree: nodes.Template, names: Collection[str]) -> Mapping[str, int]:
    fields: dict[str, int] = {}
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if isinstance(node.node, nodes.Name) and node.node.name in names:
            key = node.attr if isinstance(node, nodes.Getattr) else node.arg
            key = key.value if isinstance(key, nodes.Const) else key
            if isinstance(key, str):
                fields.setdefault(f"{node.node.name}.{key}", node.lineno)
    return fields


def _defined(tree: nodes.Template) -> Iterator[str]:
    for node in tree.find_all((nodes.Name, nodes.Macro, nodes.Import, nodes.FromImport)):
        if isinstance(node, nodes.Name):
            if node.ctx != "load":
                yield node.name
        elif isinstance(node, nodes.FromImport):
            yield from (name if isinstance(name, str) else name[1] for name in node.names)
        else:
            yield node.target if isinstance(node, nodes.Import) else node.name


def _syntax_mistake(error: TemplateSyntaxError, source: str) -> PromptMistake:
    text = (error.message or "syntax error").rstrip(".")
    if text.startswith("Encountered unknown tag"):
        text = text.partition(". ")[0]
    line = _line(source, error.lineno)
    quoted: list[str] = re.findall(r"'([^']+)'", text)
    word = next((word for word in quoted if word in line), "")
    hint = nearest(word, _TAGS.split()) if "unknown tag" in text else ""
    return PromptMistake(text[:1].lower() + text[1:], error.lineno, word, hint)


def _line(source: str, number: int) -> str:
    lines = re.split(r"\r\n|\r|\n", source)  # as Jinja counts them
    return lines[number - 1] if 0 < number <= len(lines) else ""


def _column(line: str, word: str) -> int:
    """Where `word` stands in a line, within a tag if it has one; 0 if it is not there."""
    edge = r"\b" if word.isidentifier() else ""
    pattern = re.compile(edge + re.escape(word) + edge)
    found = word and (pattern.search(line, _tag_start(line)) or pattern.search(line))
    return found.start() + 1 if found else 0


def _tag_start(line: str) -> int:
    tag = re.search(r"\{[{%]", line)
    return tag.end() if tag else 0


_USES = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
_TAGS = """
    block call elif else endblock endcall endfilter endfor endif endmacro endraw endset endwith
    extends filter for from if import include macro raw set with
"""
