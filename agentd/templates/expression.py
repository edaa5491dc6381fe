"""One expression of a manifest, such as `output.score > 0.5`: bounded like a prompt."""

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
from agentd.templates.bounds import Budget
from agentd.templates.compiler import generate
from agentd.templates.prompts import in_words
from agentd.templates.sandbox import BUDGET, BoundedEnvironment
from agentd.templates.source import nearest

_RESULT = "result"


class InvalidExpression(UsageError):
    """An expression that does not compile; `hint` is the mend, if there is one."""

    def __init__(self, text: str, *, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


@dataclass(frozen=True)
class Expression:
    """A compiled expression; two of one text are equal. `names` are those that it looks up."""

    text: str
    names: frozenset[str]
    _template: Template = field(repr=False, compare=False)

    def evaluate(self, context: Mapping[str, Any]) -> Any:
        """Its value, which is plain data; `context` has plain data under each name it may use.

        Raises:
            PromptError: `expression: what is wrong`, such as a field that is not there; also when
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
                str(value)  # raises, and says what is not there
        except Exception as error:  # whatever the author's expression raises, the author reads
            raise PromptError(f"{self.text}: {in_words(error)}") from error
        return value


def compile_expression(text: str, *, names: Collection[str] | None) -> Expression:
    """The expression `text`, which may use `names`, or any if they are None.

    Raises:
        InvalidExpression: it is not one, or uses another name.
    """
    environment = _environment()
    try:
        parser = Parser(environment, text, state="variable")
        value = parser.parse_expression()
        if not parser.stream.eos:
            raise InvalidExpression(f"goes on after its end, at `{parser.stream.current.value}`")
        body: list[nodes.Node] = [nodes.Assign(nodes.Name(_RESULT, "store"), value, lineno=1)]
        tree = nodes.Template(body, lineno=1)
        tree.set_environment(environment)
        python, looked_up = generate(environment, tree, "expression")
        code = compile(python, "<expression>", "exec")
    except TemplateSyntaxError as error:
        raise InvalidExpression(error.message or "is no expression") from None
    except (RecursionError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        raise InvalidExpression(f"cannot be compiled: {error}") from None
    for name in sorted(looked_up.difference(names) if names is not None else ()):
        hint = nearest(name, names or ()) or f"it knows {', '.join(sorted(names or ()))}"
        raise InvalidExpression(f"there is no {name!r} here", hint=hint)
    return Expression(text, looked_up, Template.from_code(environment, code, {}))


@cache
def _environment() -> BoundedEnvironment:
    """One for all expressions: making it takes longer than compiling one."""
    return BoundedEnvironment()
