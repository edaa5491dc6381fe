"""Fills in `${VAR}` in the values of a manifest from the environment, as Docker Compose does.

The grammar: https://docs.docker.com/reference/compose-file/interpolation/. Two things differ: a
variable that is not set is an error, and variables do not nest.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from agentd.manifest.yaml.nodes import Map, Node, Scalar, Seq
from agentd.problems import Problem

# `$$` is a dollar, `${…}` is a variable, and any other dollar stays as it is. `$$` comes first, so
# that `$${A}` is the text `${A}`. A `${` that is not closed matches the last part, to be reported.
_TOKEN = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_EXPRESSION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?)([-?])(.*))?", re.DOTALL)
# The pattern of a text with a variable, for JSON Schemas.
VARIABLE = r"\$\{[A-Za-z_][A-Za-z0-9_]*(:?[-?][^{}]*)?\}"
_FORMS = "write ${NAME}, ${NAME:-default} or ${NAME:?message}, and $$ for a dollar"


def interpolate(
    root: Map, environ: Mapping[str, str], *, skip: Collection[str] = ()
) -> tuple[Map, list[Problem]]:
    """`root` with its variables filled in, and a problem for each variable that cannot be.

    Only values are filled in, not keys, and nothing below the top-level fields in `skip`. Every
    value keeps its place. The type of an unquoted value is determined afterwards, so that
    `concurrency: ${N:-8}` is a number. The value of a variable never becomes a list or a mapping.
    """
    problems: list[Problem] = []
    entries = {
        name: (key, value if name in skip else _fill(value, environ, problems))
        for name, (key, value) in root.entries.items()
    }
    return Map(root.span, entries), problems


def substitute(
    text: str, environ: Mapping[str, str], from_environment: list[str] | None = None
) -> str:
    """`text` with its variables filled in.

    Args:
        from_environment: the values that came from the environment are added to this list.

    Raises:
        ValueError: a variable is not set, or an expression is invalid; the arguments are the
            problem and the hint.
    """
    seen: list[str] = [] if from_environment is None else from_environment
    return _TOKEN.sub(lambda match: _expand(match, environ, seen), text)


def _fill(node: Node, environ: Mapping[str, str], problems: list[Problem]) -> Node:
    match node:
        case Scalar() if "$" not in node.text:
            return node
        case Scalar():
            from_environment: list[str] = []
            try:
                text = substitute(node.text, environ, from_environment)
                return replace(node, text=text, from_environment=tuple(from_environment))
            except ValueError as error:
                text, hint = error.args
                problems.append(node.span.problem(text, hint=hint))
                return node
        case Seq():
            return Seq(node.span, tuple(_fill(item, environ, problems) for item in node.items))
        case Map():
            entries = {
                name: (key, _fill(value, environ, problems))
                for name, (key, value) in node.entries.items()
            }
            return Map(node.span, entries)


def _expand(match: re.Match[str], environ: Mapping[str, str], from_environment: list[str]) -> str:
    """The text for one match of `_TOKEN`; a value of the environment is also recorded."""
    if match[0] == "$$":
        return "$"
    expression = _EXPRESSION.fullmatch(match[1] or "")
    if expression is None:
        raise ValueError("this `${` does not begin a variable", _FORMS)
    name, colon, operator, word = expression.groups()
    value = environ.get(name)
    if value is not None and not (colon and value == ""):
        from_environment.append(value)
        return value
    if operator == "-":
        return word
    if operator == "?":
        raise ValueError(f"{name} is not set: {word}" if word else f"{name} is not set", "")
    raise ValueError(f"{name} is not set", f"set it, or give a default: ${{{name}:-…}}")
