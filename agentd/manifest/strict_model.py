"""What every part of a manifest is built on: a strict, immutable model."""

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
    """Strict and immutable. Values never appear in errors: they may be secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
