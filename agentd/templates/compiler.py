"""The Python that a template becomes: as Jinja writes it, with a price on every step.

Jinja's own sandbox lets calls and, where asked, operators be checked. What remains are the loops
and bodies of a template, and the values that it writes down: their code is written here.
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

MAX_TOKENS = 20_000  # in a template's tags: they compile in half a second


def generate(
    environment: Environment, tree: nodes.Template, name: str
) -> tuple[str, frozenset[str]]:
    """The Python of a template, and the names that it looks for in the context.

    Raises:
        TemplateSyntaxError: the tree cannot be compiled.
    """
    # The budget travels in the context. And a macro that names `agent` works when it is imported.
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport)):
        node.with_context = True
    python = StringIO()
    code = BoundedCode(environment, name, name, python, optimized=False)
    code.visit(tree)
    return python.getvalue(), frozenset(code.looked_up - environment.globals.keys())


class BoundedCode(CodeGenerator):
    """Writes code that pays its way: a step for every body, and for every value it makes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.looked_up: set[str] = set()

    def enter_frame(self, frame: Frame) -> None:
        super().enter_frame(frame)
        loads = frame.symbols.loads.values()
        self.looked_up |= {name for action, name in loads if name and action == VAR_LOAD_RESOLVE}

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        """A body: of a template, block, loop, macro, branch. Its fixed text is paid at once."""
        body = list(nodes)
        self.writeline(f"context.budget.spend({_fixed_text(body)})")
        super().blockvisit(body, frame)

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        if not _makes_a_value(node):
            return super().visit(node, *args, **kwargs)
        self.write("context.budget.made(")
        super().visit(node, *args, **kwargs)
        return self.write(")")

    def visit_For(self, node: nodes.For, frame: Frame) -> None:
        self.writeline("context.budget.spend()", node)
        super().visit_For(node, frame)

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:
        self.write("environment.getattr(")
        self.visit(node.node, frame)
        self.write(f", {node.attr!r}, {_spelled(node.node)!r})")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        self.write("environment.getitem(")
        self.visit(node.node, frame)
        self.write(", ")
        self.visit(node.arg, frame)
        self.write(f", {_spelled(node.node)!r})")

    def visit_Slice(self, node: nodes.Slice, frame: Frame) -> None:
        self.write("slice(")
        for bound in (node.start, node.stop, node.step):
            self.visit(bound or nodes.Const(None), frame)
            self.write(", ")
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.joined(context, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class TokenLimit(Extension):
    """Refuses templates that would compile for seconds."""

    def filter_stream(self, stream: TokenStream) -> Iterable[Token]:
        for count, token in enumerate(stream):
            if count > MAX_TOKENS:
                message = f"the tags of a prompt have at most {MAX_TOKENS:,} words and signs"
                raise TemplateSyntaxError(message, token.lineno, stream.name, stream.filename)
            yield token


def _makes_a_value(node: nodes.Node) -> bool:
    """Of those that Jinja does not ask its environment to make."""
    if isinstance(node, nodes.Tuple):
        return node.ctx == "load"
    if isinstance(node, nodes.Getitem):
        return isinstance(node.arg, nodes.Slice)
    return isinstance(node, nodes.List | nodes.Dict | nodes.Compare)


def _spelled(node: nodes.Node) -> str:
    """The expression as its author wrote it, "" if it is more than names, fields and indexes."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr) and (owner := _spelled(node.node)):
        return f"{owner}.{node.attr}"
    if isinstance(node, nodes.Getitem) and (owner := _spelled(node.node)):
        index = repr(node.arg.value) if isinstance(node.arg, nodes.Const) else "..."
        return f"{owner}[{index}]"
    return ""


def _fixed_text(body: Iterable[nodes.Node]) -> int:
    outputs = (part for node in body if isinstance(node, nodes.Output) for part in node.nodes)
    return sum(len(part.data) for part in outputs if isinstance(part, nodes.TemplateData))
