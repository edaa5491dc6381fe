"""The problems of prompts that do not compile."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agentd.problems import Problem
from agentd.templates.prompts import InvalidPrompt, PromptLibrary


def problems_of(sources: Mapping[str, str], name: str = "main.md") -> list[Problem]:
    """The problems of the prompt `name`, one of the `sources`."""
    with pytest.raises(InvalidPrompt) as raised:
        PromptLibrary(sources).compile(name)
    return list(raised.value.problems)


def problem_of(text: str, **others: str) -> Problem:
    """The only problem of the prompt `text`; `others` are the texts of other prompts."""
    files = {f"{name}.md": text for name, text in others.items()}
    (problem,) = problems_of({"main.md": text, **files})
    return problem
