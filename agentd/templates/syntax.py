"""Turns the syntax errors of Jinja into problems in plain words, with hints."""

from __future__ import annotations

import re
from collections.abc import Callable

from jinja2.exceptions import TemplateSyntaxError

from agentd.problems import did_you_mean
from agentd.templates.place import PromptProblem, line_of

_BLOCKS = ("block", "call", "filter", "for", "if", "macro", "raw", "with")
_TAGS = (*_BLOCKS, "elif", "else", "extends", "from", "import", "include", "set")
_ENDS = tuple(f"end{name}" for name in (*_BLOCKS, "set"))
_TAG = re.compile(r"\{%[-+]?\s*(\w+)")
# Tags of other template languages and of Jinja's extensions, and what to write instead.
_FOREIGN = {
    **dict.fromkeys(["elseif", "elsif", "else if"], "write `{% elif … %}`"),
    **dict.fromkeys(["break", "continue", "while"], "there is only `{% for %}`, with `if` inside"),
    **dict.fromkeys(["do", "trans", "debug"], "agentd has no such extension"),
}
# Characters that other languages use, and what to write instead.
_OPERATORS = {
    "&": "write `and`",
    "!": "write `not`, or `!=` to compare",
    "?": "write `a if b else c`",
    "$": "write the name without `$`",
    ";": "an expression is one value",
    "\\": "a `\\` can only stand inside quotes",
    **dict.fromkeys("“”„‘’«»`", "use straight quotes, ' or \""),
}
_OPENERS = {
    "end of print statement": ("`{{` is not closed", "write `}}` after the expression", "{{"),
    "end of statement block": ("`{%` is not closed", "write `%}` at the end of the tag", "{%"),
}
_KEYWORDS = ("and", "or", "not", "if", "else", "in", "is")
_FIRST = "a value begins with a name, a number, a text in quotes, `[` or `{`"


def explain(error: TemplateSyntaxError, source: str) -> PromptProblem:
    """The problem for Jinja's error in the text `source`."""
    message = (error.message or "syntax error").rstrip(".")
    line = line_of(source, error.lineno)
    for pattern, explained in _EXPLANATIONS:
        if found := re.match(pattern, message, re.DOTALL):
            problem = explained(found, source, error.lineno)
            return problem or _as_it_is(message, line, error.lineno)
    return _as_it_is(message, line, error.lineno)


def _as_it_is(message: str, line: str, number: int) -> PromptProblem:
    """Jinja's own words. Jinja gives no column, but it usually quotes the word."""
    quoted: list[str] = re.findall(r"'([^']+)'", message)
    word = next((word for word in quoted if word in line), "")
    text = re.sub(r"'([^']+)'", r"`\1`", message)
    return PromptProblem(text[:1].lower() + text[1:], number, word)


_Found = re.Match[str]


def _unknown_tag(found: _Found, source: str, number: int) -> PromptProblem:
    name = found[1]
    opened = re.search(r"needs to be closed is '(\w+)'", found[0])
    if name not in (*_ENDS, "else", "elif"):
        hint = _FOREIGN.get(name) or did_you_mean(name, (*_TAGS, *_ENDS))
        hint = hint or f"the tags are {', '.join(_TAGS)}"
        return PromptProblem(f"there is no tag `{name}`", number, name, hint)
    wanted = f"no `{{% {name.removeprefix('end')} %}}` is open"
    if name in ("else", "elif"):
        wanted = "no `{% if %}` is open"
    if opened:
        hint = f"close `{{% {opened[1]} %}}` first: write `{{% end{opened[1]} %}}`"
        return PromptProblem(f"`{{% {name} %}}` cannot stand here", number, name, hint)
    hint = "remove it, or write the tag that it ends"
    return PromptProblem(f"`{{% {name} %}}` has nothing to end: {wanted}", number, name, hint)


def _not_closed(found: _Found, source: str, number: int) -> PromptProblem:
    name = found[1]
    line = _opening(name, source) or number
    hint = f"write `{{% end{name} %}}` after its content"
    if name == "set":
        hint = "write `{% set name = value %}`, or `{% endset %}` after its content"
    return PromptProblem(f"`{{% {name} %}}` is not closed", line, name, hint)


def _opening(name: str, source: str) -> int:
    """The line of the innermost tag of this name that is not closed; 0 if there is none."""
    opened: list[int] = []
    for tag in _TAG.finditer(source):
        if tag[1] == name:
            opened.append(source.count("\n", 0, tag.start()) + 1)
        elif tag[1] == f"end{name}" and opened:
            opened.pop()
    return opened[-1] if opened else 0


def _too_early(found: _Found, source: str, number: int) -> PromptProblem:
    text, hint, word = _OPENERS.get(found[1], ("", "", ""))
    if text:
        return PromptProblem(text, number, word, hint)
    if found[1] in ("", ",", ")", "]", "}", "end of template"):
        opened = _unclosed(line_of(source, number)) or _unclosed(source)
        if opened:
            hint = f"write `{_PAIRS[opened]}` where it ends"
            return PromptProblem(f"`{opened}` is not closed", number, opened, hint)
    hint = "write a value after the last word or sign"
    return PromptProblem("the expression ends too early", number, "", hint)


_PAIRS = {"(": ")", "[": "]", "{": "}"}


def _unclosed(text: str) -> str:
    """The innermost bracket in an expression that is not closed; "" if there is none."""
    opened: list[str] = []
    for sign in re.sub(r"'[^']*'|\"[^\"]*\"", "", text):
        if sign in _PAIRS:
            opened.append(sign)
        elif opened and sign == _PAIRS[opened[-1]]:
            opened.pop()
    return opened[-1] if opened else ""


def _misplaced(found: _Found, source: str, number: int) -> PromptProblem | None:
    expected, got = found[1], found[2]
    if got in _OPENERS:
        return _ended(expected, number)
    if got == "|" and expected == "name":
        return PromptProblem("`||` has no meaning here", number, "||", "write `or`")
    if expected == "in":
        hint = "write `{% for item in list %}`"
        return PromptProblem(f"`{got}` stands where `in` must be", number, got, hint)
    if expected in _OPENERS or expected == "end of template":
        return _extra(got, number)
    if expected == ":" and got == "}":
        hint = "two braces begin an expression: write `{{ name }}` once"
        return PromptProblem("these braces are inside others", number, "{", hint)
    return None


def _extra(got: str, number: int) -> PromptProblem:
    if got == "=":
        return PromptProblem("`=` sets a value", number, "=", "write `==` to compare")
    hint = "an operator is missing before it: `~` joins texts, `|` applies a filter, `and`, `or`"
    return PromptProblem(f"`{got}` does not fit what stands before it", number, got, hint)


def _ended(expected: str, number: int) -> PromptProblem:
    what = {"name": "a name", "(": "`(`", ",": "`,` or the end of a bracket"}
    missing = what.get(expected, f"`{expected}`")
    return PromptProblem(f"the tag ends where {missing} must stand", number)


def _empty(found: _Found, source: str, number: int) -> PromptProblem:
    return PromptProblem("there is no value here", number, "", _FIRST)


def _character(found: _Found, source: str, number: int) -> PromptProblem:
    char = found[1] or found[2]
    if char in "'\"":
        hint = "put the same quote at the end of the text"
        return PromptProblem("this quote is not closed", number, char, hint)
    hint = _OPERATORS.get(char, "")
    return PromptProblem(f"`{char}` has no meaning here", number, char, hint)


def _unexpected(found: _Found, source: str, number: int) -> PromptProblem | None:
    sign, expected = found[1], found[2]
    line = line_of(source, number)
    if expected:
        hint = f"write `{expected}` where it ends"
        opened = next((o for o, closing in _PAIRS.items() if closing == expected), "")
        return PromptProblem(f"`{opened}` is not closed", number, opened, hint)
    if sign == "}" and "{{" in line:
        return PromptProblem("this expression is not closed", number, "{{", "end it with `}}`")
    if sign == "}":
        return PromptProblem("this tag is not closed", number, "{%", "end it with `%}`")
    if sign == "=":
        wrong = "=>" if "=>" in line else "==="
        return PromptProblem(f"`{wrong}` has no meaning here", number, wrong, "write `==` or `>=`")
    if sign == "end of template":
        return _too_early(found, source, number)
    if sign in (")", "]"):
        return PromptProblem(f"`{sign}` closes nothing", number, sign, "remove it")
    return None


def _always(text: str, hint: str, word: str) -> Callable[[_Found, str, int], PromptProblem]:
    """A problem whose words do not depend on the error."""
    return lambda found, source, number: PromptProblem(text, number, word, hint)


# The order matters: the first pattern that matches counts.
_EXPLANATIONS: tuple[tuple[str, Callable[[_Found, str, int], PromptProblem | None]], ...] = (
    (r"Encountered unknown tag '(\w+)'.*", _unknown_tag),
    (r"Unexpected end of template\..*needs to be closed is '(\w+)'", _not_closed),
    (r"unexpected end of template, expected '(.*?)'", _too_early),
    (r"expected token '(.*?)', got '(.*?)'$", _misplaced),
    (r"Expected an expression, got", _empty),
    (r"unexpected char (?:'(.)'|\"(.)\") at", _character),
    (r"unexpected '(.*?)'(?:, expected '(.*?)')?$", _unexpected),
    (r"Missing end of comment", _always("this comment is not closed", "end it with `#}`", "{#")),
    (r"Missing end of raw", _always("`{% raw %}` is not closed", "write `{% endraw %}`", "raw")),
    (r"tag name expected", _always("this tag is empty", "write a tag such as `{% if x %}`", "{%")),
    (
        r"can't assign to",
        _always("only a name can be set", "write `{% set name = value %}`", "set"),
    ),
    (r"expected name or number", _always("a name must follow", "write `a.b` or `a[0]`", ".")),
)
