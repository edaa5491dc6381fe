"""Texts with `{{ expressions }}`: an address, a header, a field of a body.

Unlike a prompt, such a text has no loops and branches. So it is a list of literals and expressions,
and its users can treat the two differently: a URL encodes values, but not what its author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from agentd.templates.expression import Expression, InvalidExpression, compile_expression
from agentd.templates.filters import as_text
from agentd.templates.place import PromptProblem

Piece = str | Expression

# `}}` ends an expression, but not inside quotes: `{{ '}}' }}` is one expression.
_EXPRESSION = re.compile(
    r"""\{\{-?((?:[^"'}]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\}(?!\}))*?)-?\}\}""", re.DOTALL
)


@dataclass(frozen=True)
class TextTemplate:
    """The literal texts and expressions of a text, in order."""

    pieces: tuple[Piece, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """All names that the expressions read."""
        return frozenset().union(*(expression.names for expression in self.expressions))

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """The expressions, in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Expression))

    def lacks(self, context: Mapping[str, Any]) -> bool:
        """Whether it has an expression that is only a name, `{{ city }}`, missing in `context`.

        The users leave out such a text. Only a lone name counts: `{{ city | default('x') }}` can
        have a value without an argument.
        """
        shown = (expression.text.strip() for expression in self.expressions)
        return any(text.isidentifier() and text not in context for text in shown)

    def value(self, context: Mapping[str, Any]) -> Any:
        """The value: a single expression without text around it keeps its type, else it is text.

        Raises:
            PromptError: an expression has no value.
        """
        match self.pieces:
            case (Expression() as alone,):
                return alone.evaluate(context)
            case _:
                return self.text(context)

    def text(self, context: Mapping[str, Any], written: Callable[[Any], str] = as_text) -> str:
        """The text, with the value of each expression converted by `written`.

        Raises:
            PromptError: an expression has no value.
        """
        return "".join(
            written(piece.evaluate(context)) if isinstance(piece, Expression) else piece
            for piece in self.pieces
        )

    def split(self, separator: str, most: int = -1) -> list[TextTemplate]:
        """Splits like `str.split`, but only at separators in literal text, never in a value."""
        # A value must not add a part: `{{ city }}` in a path stays one segment with `a/b` too.
        parts: list[list[Piece]] = [[]]
        for piece in self.pieces:
            if isinstance(piece, Expression):
                parts[-1].append(piece)
                continue
            # `str.split` counts the splits of one literal; the limit is for the whole text.
            left = most if most < 0 else most - len(parts) + 1
            first, *others = piece.split(separator, left) if left else [piece]
            parts[-1].append(first)
            parts.extend([other] for other in others)
        return [TextTemplate(tuple(piece for piece in part if piece != "")) for part in parts]


def compile_text(text: str, names: Collection[str] | None = None) -> TextTemplate:
    """Compiles `text`; its expressions may use `names`, or any name if `names` is None.

    Raises:
        InvalidExpression: an expression is invalid, is not closed or uses another name; or the
            text has a `{%` tag.
    """
    pieces: list[Piece] = []
    problems: list[PromptProblem] = []
    end = 0
    while (start := text.find("{{", end)) >= 0:
        found = _EXPRESSION.match(text, start)
        if found is None:
            problems.append(_at(text, start, PromptProblem("`{{` has no `}}`", 1, "{{")))
            break
        pieces.append(text[end:start])
        end = found.end()
        try:
            pieces.append(compile_expression(found[1], names=names))
        except InvalidExpression as error:
            problems += (_at(text, start, problem) for problem in error.problems)
    pieces.append(text[end:])
    # Without this error, the tag would be sent as text, which no author wants.
    for piece in pieces:
        if isinstance(piece, str) and "{%" in piece:
            hint = "write {{ a if b else c }} instead"
            tag = PromptProblem("a `{%` tag cannot stand here", 1, "{%", hint)
            problems.append(_at(text, text.index("{%"), tag))
    if problems:
        raise InvalidExpression(*problems)
    return TextTemplate(tuple(piece for piece in pieces if piece != ""))


def _at(text: str, start: int, problem: PromptProblem) -> PromptProblem:
    """A problem of the part of `text` that begins at `start`, as a problem of the whole."""
    return replace(problem, line=max(1, problem.line) + text.count("\n", 0, start))
