"""Expressions in manifests, such as `output.score > 0.5`, with the limits of a prompt."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.parser import Parser
from jinja2.runtime import Undefined

from agentd.errors import PromptError, UsageError
from agentd.templates.bounds import Budget
from agentd.templates.compiler import generate
from agentd.templates.links import unknown_name
from agentd.templates.place import PromptProblem
from agentd.templates.prompts import error_text
from agentd.templates.sandbox import BUDGET, BoundedEnvironment
from agentd.templates.source import template_problems
from agentd.templates.syntax import explain

_RESULT = "result"
_IN_BRACES = re.compile(r"\s*\{\{\s*(.*?)\s*\}\}\s*", re.DOTALL)


class InvalidExpression(UsageError):
    """An expression that does not compile; `problems` are all its problems."""

    def __init__(self, *problems: PromptProblem) -> None:
        super().__init__("; ".join(problem.text for problem in problems))
        self.problems = problems


@dataclass(frozen=True)
class Expression:
    """A compiled expression. Two with the same text are equal; `names` are those it reads."""

    text: str
    names: frozenset[str]
    _template: Template = field(repr=False, compare=False)

    def evaluate(self, context: Mapping[str, Any]) -> Any:
        """The value of the expression, which is plain data.

        Args:
            context: plain data under each name that the expression may use.

        Raises:
            PromptError: `expression: problem`, for example a field that does not exist; also when
                it takes longer than 0.25 s or makes a value of more than a million characters.
        """
        template = self._template
        values = {**template.environment.globals, **context, BUDGET: Budget()}
        scope = template.new_context(values, shared=True)
        try:
            for _ in template.root_render_func(scope):
                pass
            value = scope.vars[_RESULT]
            if isinstance(value, Undefined):
                str(value)  # raises the error that names what is missing
        # The author's expression can raise any error of Python, such as ZeroDivisionError.
        except Exception as error:
            raise PromptError(f"{self.text}: {error_text(error)}") from error
        return value


def compile_expression(text: str, *, names: Collection[str] | None) -> Expression:
    """Compiles the expression `text`; it may use `names`, or any name if `names` is None.

    Raises:
        InvalidExpression: the text is not an expression, or it uses another name.
    """
    environment = _environment()
    try:
        tree = parse_expression(text)
        problems = list(template_problems(tree, environment))
        python, looked_up = generate(environment, tree, "expression")
        if names is not None:
            problems += (unknown_name(name, names, 1) for name in sorted(looked_up - {*names}))
        if problems:
            raise InvalidExpression(*problems)
        code = compile(python, "<expression>", "exec")
    except TemplateSyntaxError as error:
        raise InvalidExpression(explain(error, text)) from None
    except (RecursionError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        raise InvalidExpression(PromptProblem(f"cannot be compiled: {error}")) from None
    return Expression(text, looked_up, Template.from_code(environment, code, {}))


def parse_expression(text: str) -> nodes.Template:
    """The tree of a template that sets a variable to the value of the expression.

    Jinja compiles templates only, and those give text. The value of a variable keeps its type.

    Raises:
        InvalidExpression: the text is in braces, as in a template.
        TemplateSyntaxError: it is not an expression.
    """
    if braces := _IN_BRACES.fullmatch(text):
        hint = f"write only `{braces[1][:100]}`"
        raise InvalidExpression(PromptProblem("an expression has no `{{ }}`", 1, "{{", hint))
    environment = _environment()
    parser = Parser(environment, text, state="variable")
    value = parser.parse_expression()
    # Without this check `a }} {{ b` would be accepted, and `b` ignored.
    if not parser.stream.eos:
        extra = parser.stream.current.value
        raise TemplateSyntaxError(f"expected token 'end of template', got '{extra}'", 1)
    body: list[nodes.Node] = [nodes.Assign(nodes.Name(_RESULT, "store"), value, lineno=1)]
    tree = nodes.Template(body, lineno=1)
    tree.set_environment(environment)
    return tree


@cache
def _environment() -> BoundedEnvironment:
    """The environment of all expressions: to create one takes longer than to compile one."""
    return BoundedEnvironment()
