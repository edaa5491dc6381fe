"""The base class of every part of a manifest: a strict, immutable model."""

from __future__ import annotations

from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from agentd.manifest.quantities import Whole

Count = Annotated[Whole, Field(ge=1, le=1_000_000)]


class StrictModel(BaseModel):
    """A mapping of a manifest: unknown fields are errors, and nothing changes after reading.

    Values never appear in pydantic's errors, because they may be secrets.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
