"""Hides the secrets of a tool in answers and errors, so that neither a model nor a log has them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from agentd.catalog.spec import AgentSpec
from agentd.manifest.yaml.nodes import Seq, environment_values

SHORTEST = 6  # characters; shorter texts occur in ordinary words by chance
HIDDEN = "[secret]"

_CREDENTIALS = re.compile(r"auth|cookie|key|pass|secret|token", re.IGNORECASE)


class Secrets:
    """Texts to hide, also in the encodings in which a server may send them back."""

    def __init__(self, texts: Iterable[str]) -> None:
        forms = {form for text in texts if len(text) >= SHORTEST for form in _forms(text)}
        # The longest first: one secret may be the beginning of another.
        longest = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    def hide(self, text: str) -> str:
        """`text` with `HIDDEN` in place of each secret."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def hide_in(self, value: Any) -> Any:
        """A JSON value without secrets, in names and in strings."""
        if self._pattern is None:
            return value
        match value:
            case str():
                return self.hide(value)
            case list():
                return [self.hide_in(each) for each in value]
            case dict():
                return {self.hide(name): self.hide_in(each) for name, each in value.items()}
            case _:
                return value


def secrets_of(
    spec: AgentSpec, index: int, *, headers: Mapping[str, str], origins: Iterable[str]
) -> Secrets:
    """The secrets of the tool at `index` of the manifest.

    These are the values that its entry takes from the environment, and the values of headers that
    hold credentials. Parts of its addresses are no secrets: the model knows them.
    """
    tools = spec.root.get("tools")
    node = tools.items[index] if isinstance(tools, Seq) and index < len(tools.items) else None
    taken = [text.strip() for text in environment_values(node)] if node else []
    public = tuple(origins)
    secret = [text for text in taken if not any(text in each or each in text for each in public)]
    # `Bearer abc-{{ x }}` has the secrets `Bearer` and `abc-`: a model fills in the rest.
    literal = re.compile(r"\{\{.*?\}\}|\s+")
    for name, value in headers.items():
        if _CREDENTIALS.search(name):
            secret += literal.split(value)
    return Secrets(secret)


def _forms(text: str) -> Iterator[str]:
    yield from (text, quote(text, safe=""), quote(text), quote_plus(text), json.dumps(text)[1:-1])
    yield base64.b64encode(text.encode(errors="replace")).decode()
