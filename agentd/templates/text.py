"""A text with `{{ expressions }}` in it: an address, a header, a field of a body.

Unlike a prompt it has no loops and branches. That is what lets its users treat what an expression
gives differently from what its author wrote around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from agentd.templates.expression import Expression, InvalidExpression, compile_expression
from agentd.templates.filters import as_text

Piece = str | Expression

# A brace pair ends the expression unless it stands in quotes.
_EXPRESSION = re.compile(
    r"""\{\{-?((?:[^"'}]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\}(?!\}))*?)-?\}\}""", re.DOTALL
)


@dataclass(frozen=True)
class TextTemplate:
    """Literal texts and expressions, in their order."""

    pieces: tuple[Piece, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """All names that its expressions look up."""
        return frozenset().union(*(expression.names for expression in self.expressions))

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(piece for piece in self.pieces if isinstance(piece, Expression))

    def lacks(self, context: Mapping[str, Any]) -> bool:
        """Whether it shows a name by itself, as `{{ city }}`, that the context does not have."""
        shown = (expression.text.strip() for expression in self.expressions)
        return any(text.isidentifier() and text not in context for text in shown)

    def value(self, context: Mapping[str, Any]) -> Any:
        """What it stands for: an expression alone keeps its type, everything else is text.

        Raises:
            PromptError: an expression has no value.
        """
        match self.pieces:
            case (Expression() as alone,):
                return alone.evaluate(context)
            case _:
                return self.text(context)

    def text(self, context: Mapping[str, Any], written: Callable[[Any], str] = as_text) -> str:
        """The text, with the value of each expression as `written` writes it.

        Raises:
            PromptError: an expression has no value.
        """
        return "".join(
            written(piece.evaluate(context)) if isinstance(piece, Expression) else piece
            for piece in self.pieces
        )

    def split(self, separator: str, most: int = -1) -> list[TextTemplate]:
        """As `str.split`, at separators that the author wrote."""
        parts: list[list[Piece]] = [[]]
        for piece in self.pieces:
            if isinstance(piece, Expression):
                parts[-1].append(piece)
                continue
            left = most if most < 0 else most - len(parts) + 1
            first, *others = piece.split(separator, left) if left else [piece]
            parts[-1].append(first)
            parts.extend([other] for other in others)
        return [TextTemplate(tuple(piece for piece in part if piece != "")) for part in parts]


def compile_text(text: str, names: Collection[str] | None = None) -> TextTemplate:
    """The template in `text`, which may use `names`, or any if they are None.

    Raises:
        InvalidExpression: an expression in it is none or uses another name, or is not closed.
    """
    pieces: list[Piece] = []
    end = 0
    while (start := text.find("{{", end)) >= 0:
        found = _EXPRESSION.match(text, start)
        if found is None:
            raise InvalidExpression("has `{{` without its `}}`")
        pieces += [_literal(text[end:start]), _compiled(found[1], names)]
        end = found.end()
    pieces.append(_literal(text[end:]))
    return TextTemplate(tuple(piece for piece in pieces if piece != ""))


def _compiled(text: str, names: Collection[str] | None) -> Expression:
    try:
        return compile_expression(text, names=names)
    except InvalidExpression as error:
        mistake = f"has a mistake in {{{{ {text.strip()[:100]} }}}}: {error}"
        raise InvalidExpression(mistake, hint=error.hint) from None


def _literal(text: str) -> str:
    if "{%" in text:
        raise InvalidExpression("has a `{%` tag", hint="write {{ a if b else c }} instead")
    return text
