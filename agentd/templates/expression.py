"""Expressions in manifests, such as `output.score > 0.5`, with the limits of a prompt."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.parser import Parser
from jinja2.runtime import Undefined

from agentd.errors import PromptError, UsageError
from agentd.problems import did_you_mean
from agentd.templates.bounds import Budget
from agentd.templates.compiler import generate
from agentd.templates.prompts import error_text
from agentd.templates.sandbox import BUDGET, BoundedEnvironment

_RESULT = "result"


class InvalidExpression(UsageError):
    """An expression that does not compile; `hint` says how to fix it, or is empty."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


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
        parser = Parser(environment, text, state="variable")
        value = parser.parse_expression()
        # Without this check `a }} {{ b` would be accepted, and `b` ignored.
        if not parser.stream.eos:
            extra = parser.stream.current.value
            raise InvalidExpression(f"has `{extra}` after the end of the expression")
        # Jinja compiles templates only, and those give text. So the expression becomes a template
        # that sets a variable: the value of the variable keeps its type.
        body: list[nodes.Node] = [nodes.Assign(nodes.Name(_RESULT, "store"), value, lineno=1)]
        tree = nodes.Template(body, lineno=1)
        tree.set_environment(environment)
        python, looked_up = generate(environment, tree, "expression")
        code = compile(python, "<expression>", "exec")
    except TemplateSyntaxError as error:
        raise InvalidExpression(error.message or "is not an expression") from None
    except (RecursionError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        raise InvalidExpression(f"cannot be compiled: {error}") from None
    for name in sorted(looked_up.difference(names) if names is not None else ()):
        known = ", ".join(sorted(names or ())) or "(none)"
        hint = did_you_mean(name, names or ()) or f"the known names are {known}"
        raise InvalidExpression(f"unknown name `{name}`", hint=hint)
    return Expression(text, looked_up, Template.from_code(environment, code, {}))


@cache
def _environment() -> BoundedEnvironment:
    """The environment of all expressions: to create one takes longer than to compile one."""
    return BoundedEnvironment()
