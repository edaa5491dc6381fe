"""What a tool sends and nobody may read again: not the model, not a log."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from agentd.catalog.spec import AgentSpec
from agentd.manifest.yaml.nodes import Seq, environment_values

SHORTEST = 6  # characters; anything shorter would be found in innocent words
HIDDEN = "[secret]"

_CREDENTIALS = re.compile(r"auth|cookie|key|pass|secret|token", re.IGNORECASE)


class Secrets:
    """Texts that are hidden wherever they turn up, also encoded as they may be on their way."""

    def __init__(self, texts: Iterable[str]) -> None:
        forms = {form for text in texts if len(text) >= SHORTEST for form in _forms(text)}
        # The longest first: one secret may begin with another.
        longest = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None

    def hide(self, text: str) -> str:
        """`text` without them."""
        return self._pattern.sub(HIDDEN, text) if self._pattern else text

    def hide_in(self, value: Any) -> Any:
        """A JSON value without them, names and texts alike."""
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
    """Those of the tool at `index` of the manifest: what the environment gave to its entry, and
    what its headers say that are known to hold credentials. Its addresses are none."""
    tools = spec.root.get("tools")
    node = tools.items[index] if isinstance(tools, Seq) and index < len(tools.items) else None
    taken = [text.strip() for text in environment_values(node)] if node else []
    open_ = tuple(origins)
    secret = [text for text in taken if not any(text in each or each in text for each in open_)]
    literal = re.compile(r"\{\{.*?\}\}|\s+")
    for name, value in headers.items():
        if _CREDENTIALS.search(name):
            secret += literal.split(value)
    return Secrets(secret)


def _forms(text: str) -> Iterator[str]:
    yield from (text, quote(text, safe=""), quote(text), quote_plus(text), json.dumps(text)[1:-1])
    yield base64.b64encode(text.encode(errors="replace")).decode()
