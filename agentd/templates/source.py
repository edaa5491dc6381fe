"""Compiles one template text: its code, the names and templates it needs, and its problems."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import CodeType

from jinja2 import nodes
from jinja2.exceptions import TemplateSyntaxError

from agentd.problems import did_you_mean
from agentd.templates.compiler import generate
from agentd.templates.place import PromptProblem
from agentd.templates.sandbox import BoundedEnvironment
from agentd.templates.syntax import explain

MAX_SOURCE = 256_000  # characters

_UseNode = nodes.Extends | nodes.Include | nodes.Import | nodes.FromImport


@dataclass(frozen=True)
class Use:
    """An include, import or extends.

    Attributes:
        names: the templates to try, in this order.
        optional: whether it is allowed that none of them exists.
        wanted: the macros of a `from ... import`.
    """

    names: tuple[str, ...]
    line: int
    optional: bool = False
    wanted: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptSource:
    """A compiled template text. If it has problems, it has no code.

    Attributes:
        uses: its includes, imports and extends.
        looked_up: the names that it reads from the context or from an including template, with the
            line of the first use.
        defined: all names that it sets.
        inherits: whether it extends another template.
        fields: the fields that it reads of names in `looked_up`, such as `context.metadata`, with
            the line of the first use.
        constant: the output of a text without any tag, which is always the same; else None.
    """

    name: str
    text: str = field(repr=False)
    code: CodeType | None = None
    problems: tuple[PromptProblem, ...] = ()
    uses: tuple[Use, ...] = ()
    looked_up: Mapping[str, int] = field(default_factory=dict[str, int])
    defined: frozenset[str] = frozenset()
    inherits: bool = False
    fields: Mapping[str, int] = field(default_factory=dict[str, int])
    constant: str | None = field(default=None, repr=False)

    @cached_property
    def needs(self) -> tuple[str, ...]:
        """The names of all templates in `uses`."""
        return tuple(name for use in self.uses for name in use.names)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of name and text, in hex."""
        return hashlib.sha256(f"{self.name}\0{self.text}".encode()).hexdigest()


def compile_source(environment: BoundedEnvironment, name: str, text: str) -> PromptSource:
    """Compiles a text. It does not raise errors: the problems are in the result."""
    if len(text) > MAX_SOURCE:
        problem = f"has {len(text):,} characters; the limit is {MAX_SOURCE:,}"
        return _broken(name, text, PromptProblem(problem))
    try:
        tree = environment.parse(text, name)
        problems = tuple(template_problems(tree, environment))
        python, looked_up = generate(environment, tree, name)
        code = None if problems else compile(python, f"<prompt {name}>", "exec")
    except TemplateSyntaxError as error:
        return _broken(name, text, explain(error, text))
    except RecursionError:
        return _broken(name, text, PromptProblem("is nested too deeply"))
    # Jinja leaves some checks to Python's compiler, such as a keyword argument that is given twice
    # and more than 20 nested loops. MemoryError is what its parser raises for deep nesting.
    except (SyntaxError, ValueError, OverflowError, MemoryError) as error:
        return _broken(
            name, text, PromptProblem(f"cannot be compiled: {getattr(error, 'msg', error)}")
        )
    return PromptSource(
        name,
        text,
        code,
        problems,
        uses=tuple(_use(node) for node in tree.find_all(_USES) if _names(node)),
        looked_up=_first_lines(tree, looked_up),
        defined=frozenset(_defined(tree)),
        inherits=tree.find(nodes.Extends) is not None,
        fields=_fields(tree, looked_up),
        constant=_constant(tree),
    )


def _broken(name: str, text: str, *problems: PromptProblem) -> PromptSource:
    return PromptSource(name, text, problems=problems)


def _constant(tree: nodes.Template) -> str | None:
    """The text of a template that consists of literal text only; else None."""
    # No checks are needed later: a source is short enough, and its file is UTF-8.
    parts: list[str] = []
    for node in tree.body:
        for part in node.nodes if isinstance(node, nodes.Output) else [node]:
            if not isinstance(part, nodes.TemplateData):
                return None
            parts.append(part.data)
    return "".join(parts)


def template_problems(
    tree: nodes.Template, environment: BoundedEnvironment
) -> Iterator[PromptProblem]:
    """All problems of a template that can be parsed, but not compiled."""
    # Jinja itself stops at the first unknown filter; the author wants to see all problems.
    known = {nodes.Filter: environment.filters, nodes.Test: environment.tests}
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        if node.name not in known[type(node)]:
            text = f"there is no {type(node).__name__.lower()} `{node.name}`"
            yield PromptProblem(
                text, node.lineno, node.name, did_you_mean(node.name, known[type(node)])
            )
            node.name = next(iter(known[type(node)]))  # else the code generator raises an error
    for node in tree.find_all(_USES):
        # The digest of a revision covers its includes, so they must be known when it is loaded.
        # And a message must not choose which file becomes part of the prompt.
        if not _names(node):
            text = f"{type(node).__name__.lower()} needs a fixed name in quotes"
            hint = "to choose between templates, use {% if %}"
            yield PromptProblem(text, node.lineno, hint=hint)
    for node in tree.find_all(nodes.ScopedEvalContextModifier):
        hint = "use the filter 'escape' for data inside tags of XML or HTML"
        text = "autoescape is not supported: prompts are plain text"
        yield PromptProblem(text, node.lineno, "autoescape", hint)


def _names(node: _UseNode) -> tuple[str, ...]:
    """The template names in an include, import or extends; () if they are not literal texts."""
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
    """The names with the line where each is first read."""
    lines = dict.fromkeys(sorted(names), 0)
    for node in tree.find_all(nodes.Name):
        if lines.get(node.name) == 0 and node.ctx == "load":
            lines[node.name] = node.lineno
    return lines


def _fields(tree: nodes.Template, names: Collection[str]) -> Mapping[str, int]:
    """The fields `name.field` that are read of these names, with the line of the first use."""
    fields: dict[str, int] = {}
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if isinstance(node.node, nodes.Name) and node.node.name in names:
            key = node.attr if isinstance(node, nodes.Getattr) else node.arg
            key = key.value if isinstance(key, nodes.Const) else key
            if isinstance(key, str):
                fields.setdefault(f"{node.node.name}.{key}", node.lineno)
    return fields


def _defined(tree: nodes.Template) -> Iterator[str]:
    """All names that the template sets: by set, for, with, macro or import."""
    for node in tree.find_all((nodes.Name, nodes.Macro, nodes.Import, nodes.FromImport)):
        if isinstance(node, nodes.Name):
            if node.ctx != "load":
                yield node.name
        elif isinstance(node, nodes.FromImport):
            yield from (name if isinstance(name, str) else name[1] for name in node.names)
        else:
            yield node.target if isinstance(node, nodes.Import) else node.name


_USES = (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport)
