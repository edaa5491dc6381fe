"""`callback`: where the result of a triggered task is posted."""

from __future__ import annotations

import re
from typing import Any

from pydantic import Field, field_validator

from agentd.manifest.http import AllowPrivate, allow_private
from agentd.manifest.quantities import Expression
from agentd.manifest.strict_model import StrictModel

# The names that the expression of a body can use.
OUTCOME_NAMES = ("task", "success", "data", "error")

_URL = re.compile(r"https?://", re.IGNORECASE)


class Callback(StrictModel):
    """Where the result is posted. A text is short for `url`."""

    url: str = Field(
        min_length=1,
        max_length=4096,
        description="The URL that gets the result: the text of one, or an expression that gives "
        "one, with the names of the other expressions.",
        examples=["https://example.org/done", "body.response_url"],
    )
    headers: dict[str, str] = Field(
        default={},
        description="The headers of the request. They are not stored in the log.",
        examples=[{"Authorization": "Bearer ${TOKEN}"}],
    )
    body: Expression | None = Field(
        default=None,
        description="An expression that gives the JSON to post. It can use `task` (the id), "
        "`success`, `data` and `error`. Default: a mapping of these.",
        examples=["{'text': data}"],
    )
    allow_private: AllowPrivate = allow_private()

    @property
    def is_fixed(self) -> bool:
        """Whether `url` is the URL itself, and no expression."""
        return _URL.match(self.url) is not None

    @field_validator("url")
    @classmethod
    def _no_template(cls, url: str) -> str:
        if "{{" in url:
            hint = "write an expression: \"'https://example.org/' ~ body.id\""
            raise ValueError("cannot have `{{ }}`", hint)
        return url


def as_callback(value: Any) -> Any:
    """A text as the URL of a callback."""
    return {"url": value} if isinstance(value, str) else value
