"""`schedule`: the task that an agent gets regularly."""

from __future__ import annotations

import zoneinfo
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from agentd.manifest.cron import parse
from agentd.manifest.quantities import Duration
from agentd.manifest.strict_model import StrictModel
from agentd.problems import did_you_mean


class Schedule(StrictModel):
    """A task that agentd publishes regularly: by either `every` or `cron`."""

    every: Duration | None = Field(
        default=None, description="The time between two tasks, at least 1s.", examples=["1h"]
    )
    cron: str | None = Field(
        default=None,
        min_length=1,
        description="A cron expression: minute, hour, day of the month, month and day of the "
        "week. An optional field in front is the second.",
        examples=["0 7 * * 1-5"],
    )
    time_zone: str = Field(
        default="UTC",
        description="The time zone of `cron`.",
        examples=["Europe/Berlin"],
    )
    task: Any = Field(
        description="The content of the task.", examples=["Collect the news of the last hour."]
    )

    @field_validator("every")
    @classmethod
    def _at_least_a_second(cls, every: float | None) -> float | None:
        # The server's schedules have a resolution of one second.
        if every is not None and every < 1:
            raise ValueError("must be at least 1s", "")
        return every

    @field_validator("cron")
    @classmethod
    def _with_six_fields(cls, cron: str | None) -> str | None:
        return cron and parse(cron).text

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, zone: str) -> str:
        known = zoneinfo.available_timezones()  # empty if the system has no time zone data
        if known and zone not in known:
            hint = did_you_mean(zone, known) or "for example Europe/Berlin"
            raise ValueError(f"is not a known time zone: `{zone[:40]}`", hint)
        return zone

    @model_validator(mode="after")
    def _either_every_or_cron(self) -> Self:
        if (self.every is None) == (self.cron is None):
            raise ValueError("needs either `every` or `cron`", "")
        # An interval does not depend on the time of day, so a time zone would have no effect.
        if self.every is not None and self.time_zone != "UTC":
            raise ValueError(
                "has a `time_zone` without `cron`", "remove it: `every` has no time zone"
            )
        return self
