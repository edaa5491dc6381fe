"""A problem in a user's file: its place, what is wrong, how to fix it, and what was meant."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

_COMPARED = 60  # characters of a name that is compared with others


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One error or warning about one file.

    `line` and `column` count from 1; 0 means that the problem has no place in the file. `source`
    is the text of that line, and `width` the number of characters to underline. `hint` says how to
    fix the problem.
    """

    file: str
    text: str
    line: int = 0
    column: int = 0
    width: int = 1
    source: str = ""
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    @property
    def place(self) -> str:
        """`file`, `file:line` or `file:line:column`; editors and terminals make it a link."""
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])

    def render(self) -> str:
        """The problem as lines of text: place, what is wrong and hint, the source line, a caret."""
        head = f"{self.place}: {self.severity}: {self.text}"
        lines = [head + (f"; {self.hint}" if self.hint else "")]
        if self.source and self.line:
            shown, column = self._window()
            caret = " " * (column - 1) + "^" * max(1, min(self.width, len(shown) - column + 1))
            lines += [f"  {self.line:>4} | {shown}", f"       | {caret}" if self.column else ""]
        return "\n".join(line for line in lines if line)

    def as_json(self) -> dict[str, Any]:
        """The problem as a JSON object, for `--json`."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "severity": self.severity,
            "problem": self.text,
            "hint": self.hint,
        }

    def _window(self, span: int = 100) -> tuple[str, int]:
        """The part of a long source line around the column, and the column in it."""
        # A tab becomes one space, because the caret below has to count characters.
        text = self.source.rstrip("\r\n").replace("\t", " ")
        start = max(0, self.column - span // 2) if len(text) > span else 0
        return text[start : start + span], max(1, self.column - start)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """The problems because of which a file does not load: those that are no warnings."""
    return [problem for problem in problems if problem.severity == "error"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The hint "did you mean `…`?" with the known name that is most similar; "" if none is."""
    near = nearest(name, known)
    return f"did you mean `{near}`?" if near else ""


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.65) -> str:
    """The known name that is most similar to `name`; "" if none is similar.

    Names that differ only in upper and lower case are similar.
    """
    folded = {each.casefold(): each for each in known}
    # Cut first: comparing takes time that grows with the square of the length.
    near = get_close_matches(name[:_COMPARED].casefold(), sorted(folded), n=1, cutoff=cutoff)
    return folded[near[0]] if near else ""
