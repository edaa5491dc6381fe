"""Compiles templates to Python code that pays for each of its steps.

Jinja's sandbox has hooks for calls, attributes and operators. It has none for loops, bodies,
literals, comparisons and slices, and those can use up any amount of time and memory too. So this
code generator writes calls of the budget into the code of these nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import Any

from jinja2 import Environment, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import TemplateSyntaxError
from jinja2.ext import Extension
from jinja2.idtracking import VAR_LOAD_RESOLVE
from jinja2.lexer import Token, TokenStream

MAX_TOKENS = 20_000  # in the tags of one template: that many compile in half a second


def generate(
    environment: Environment, tree: nodes.Template, name: str
) -> tuple[str, frozenset[str]]:
    """The Python code of a template, and the names that it reads from the context.

    Raises:
        TemplateSyntaxError: the tree cannot be compiled.
    """
    # The code finds the budget in the context, so each included template needs the context too.
    # It also lets an imported macro use names such as `agent`.
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport)):
        node.with_context = True
    python = StringIO()
    # Not optimized: the optimizer would compute `'x' * 10 ** 9` here, without a budget.
    code = BoundedCode(environment, name, name, python, optimized=False)
    code.visit(tree)
    return python.getvalue(), frozenset(code.looked_up - environment.globals.keys())


class BoundedCode(CodeGenerator):
    """Writes code that pays for each body that it runs and for each value that it makes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.looked_up: set[str] = set()

    def enter_frame(self, frame: Frame) -> None:
        super().enter_frame(frame)
        loads = frame.symbols.loads.values()
        self.looked_up |= {name for action, name in loads if name and action == VAR_LOAD_RESOLVE}

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        """A body of a template, block, loop, macro or branch. It pays for its literal text."""
        body = list(nodes)
        self.writeline(f"context.budget.spend({_fixed_text(body)})")
        super().blockvisit(body, frame)

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if not _makes_a_value(node):
            return super().visit(node, *args, **kwargs)
        self.write("context.budget.charge(")
        super().visit(node, *args, **kwargs)
        return self.write(")")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        # A loop over an empty list has no body to pay for, and can itself be in a long loop.
        self.writeline("context.budget.spend()", node)
        super().visit_For(node, frame)

    # The next two as in Jinja, with the path of the owner as a third argument, for error texts.

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:
        self.write("environment.getattr(")
        self.visit(node.node, frame)
        self.write(f", {node.attr!r}, {_path(node.node)!r})")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        self.write("environment.getitem(")
        self.visit(node.node, frame)
        self.write(", ")
        self.visit(node.arg, frame)
        self.write(f", {_path(node.node)!r})")

    def visit_Slice(self, node: nodes.Slice, frame: Frame) -> None:
        # Jinja writes `a:b`, which is valid in `x[a:b]` only; here it is an argument of a call.
        self.write("slice(")
        for bound in (node.start, node.stop, node.step):
            self.visit(bound or nodes.Const(None), frame)
            self.write(", ")
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        # Jinja writes a plain join of strings, which no hook of the sandbox can see.
        self.write("environment.joined(context, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class TokenLimit(Extension):
    """Refuses templates that would take seconds to compile."""

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        for count, token in enumerate(stream):
            if count > MAX_TOKENS:
                message = f"the tags have more than {MAX_TOKENS:,} tokens, which is the limit"
                raise TemplateSyntaxError(message, token.lineno, stream.name, stream.filename)
            yield token


def _makes_a_value(node: nodes.Node) -> bool:
    """Whether a node makes a value without a call of the environment, which would pay for it."""
    if isinstance(node, nodes.Tuple):
        return node.ctx == "load"  # `{% for a, b in x %}` has a tuple too, as a target
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Slice)
    return isinstance(node, nodes.List | nodes.Dict | nodes.Compare)


def _path(node: nodes.Node) -> str:
    """An expression of names, fields and indexes as written, such as `content.x[0]`; else ""."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and (owner := _path(node.node)):
        return f"{owner}.{node.attr}"
    if isinstance(node, nodes.Getitem) and (owner := _path(node.node)):
        index = repr(node.arg.value) if isinstance(node.arg, nodes.Const) else "..."
        return f"{owner}[{index}]"
    return ""


def _fixed_text(body: Iterable[nodes.Node]) -> int:
    """The characters of literal text in a body."""
    outputs = (part for node in body if isinstance(node, nodes.Output) for part in node.nodes)
    return sum(len(part.data) for part in outputs if isinstance(part, nodes.TemplateData))
