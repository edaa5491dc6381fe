"""Fills `${VAR}` in manifest values from the environment, in the grammar of Compose."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from agentd.manifest.yaml.nodes import Map, Node, Scalar, Seq
from agentd.problems import Problem

# `$$` is a dollar, `${…}` is ours, and any other dollar stays as it is.
_TOKEN = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_EXPRESSION = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:?)([-?])(.*))?", re.DOTALL)
_FORMS = "write ${NAME}, ${NAME:-default} or ${NAME:?why}; a dollar is $$"


def interpolate(
    root: Map, environ: Mapping[str, str], *, skip: Collection[str] = ()
) -> tuple[Map, list[Problem]]:
    """`root` with its variables filled in, and those that cannot be.

    Values are filled, keys are not, nor anything under the top-level fields in `skip`. Every value
    keeps its place. An unquoted value is read again afterwards: `concurrency: ${N:-8}` is a number;
    what a variable holds is never read as YAML structure.
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
    """`text` with its variables filled in; `from_environment` gets what came from the environment.

    Raises:
        ValueError: a variable that is missing or an expression that is none; the arguments are
            the problem and its mend.
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
    """What stands for a `${…}`; a value of the environment is also added to `taken`."""
    if match[0] == "$$":
        return "$"
    expression = _EXPRESSION.fullmatch(match[1] or "")
    if expression is None:
        raise ValueError("this `${` is not a variable", _FORMS)
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
