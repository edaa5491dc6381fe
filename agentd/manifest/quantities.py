"""Durations, rates, names and topics as people write them in a manifest.

A function here raises ValueError(mistake, mend): `agentd.manifest.diagnose` adds the place.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from agentd.errors import SubjectError
from agentd.manifest.rate import Allowance
from agentd.protocol.subjects import TOKEN, token

LONGEST = 30 * 86400.0

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s?(ms|s|m|h|d)")
_PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
_RATE = re.compile(r"([0-9]{1,9})\s?/\s?(s|min|h|day)")
_TOPIC = re.compile(rf"{TOKEN}\.{TOKEN}")
_PATTERN = rf"({TOKEN}|\*)\.({TOKEN}|\*)"


def seconds(value: object) -> float:
    """`500ms`, `120s`, `2m`, `1h`, `1d`, or a number of seconds: more than 0, at most 30 days."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match:
        number = float(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise ValueError("must be a duration", "write 500ms, 120s, 2m or 1h")
    if not 0 < number <= LONGEST:
        raise ValueError("must be more than 0 and at most 30 days", "")
    return number


def allowance(value: object) -> Allowance:
    """`60/min` as 60 in 60 seconds; the units are s, min, h and day."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not match or not int(match[1]):
        raise ValueError("must be a rate", "write 60/min, 5/s or 1000/day")
    return Allowance(int(match[1]), _PERIODS[match[2]])


def subject_name(value: str) -> str:
    """A name that can stand in a subject and is not one of agentd's own."""
    try:
        token(value, "a name")
    except SubjectError:
        mend = "only the domain stands here, without a dot" if "." in value else ""
        raise ValueError("must be 1 to 64 of A-Z a-z 0-9 _ -", mend) from None
    if value.startswith("_"):
        raise ValueError("may not begin with _", "such names are agentd's own")
    return value


def topic(value: str) -> str:
    """`domain.specificity`, the part of a subject that people choose."""
    if not _TOPIC.fullmatch(value):
        raise ValueError("must be `domain.specificity`", "for example factcheck.claims")
    return value


def fact_pattern(value: str) -> str:
    """A pattern of facts: `result.` or `event.`, then domain and specificity or `*`."""
    if not re.fullmatch(rf"(result|event)\.{_PATTERN}", value):
        mend = "for example result.research.* or event.review.requested"
        raise ValueError("must be `result.…` or `event.…` with two more parts", mend)
    return value


def emission_pattern(value: str) -> str:
    """What a model may emit: `task.` or `event.`, then domain and specificity or `*`."""
    if not re.fullmatch(rf"(task|event)\.{_PATTERN}", value):
        mend = "for example task.research.* or event.report.ready"
        raise ValueError("must be `task.…` or `event.…` with two more parts", mend)
    return value


def no_duplicates(values: tuple[str, ...]) -> tuple[str, ...]:
    """`values`, none of them twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"has `{value}` twice", "")
        seen.add(value)
    return values


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """`values`, at least one. Unlike `min_length` it does not count items that are wrong."""
    if not values:
        raise ValueError("is empty", "")
    return values


def as_list(value: Any) -> Any:
    """A single text as the list of it."""
    return [value] if isinstance(value, str) else value


def one_of_types(words: str, *kinds: type) -> BeforeValidator:
    """Takes a value of one of `kinds`: one error, where a union would report one for each."""

    def check(value: Any) -> Any:
        if not isinstance(value, kinds):
            raise ValueError(f"must be {words}", "")
        return value

    return BeforeValidator(check)


def _kind(name: str, **schema: Any) -> WithJsonSchema:
    """The JSON Schema of a written form; its title is how the reference calls the type."""
    return WithJsonSchema({"title": name, **schema})


Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Priority = Annotated[Whole, Field(ge=0, le=9)]
Money = Annotated[Number, Field(ge=0, le=1e6)]

Duration = Annotated[
    float,
    BeforeValidator(seconds),
    _kind(
        "duration",
        anyOf=[
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)$"},
            {"type": "number", "exclusiveMinimum": 0},
        ],
    ),
]
Rate = Annotated[
    Allowance,
    BeforeValidator(allowance),
    _kind("rate", type="string", pattern="^[0-9]+ ?/ ?(s|min|h|day)$"),
]
Name = Annotated[
    str, AfterValidator(subject_name), _kind("name", type="string", pattern=f"^(?!_){TOKEN}$")
]
Names = Annotated[tuple[Name, ...], BeforeValidator(as_list), AfterValidator(no_duplicates)]
Topic = Annotated[
    str, AfterValidator(topic), _kind("topic", type="string", pattern=rf"^{TOKEN}\.{TOKEN}$")
]
FactPattern = Annotated[
    str,
    AfterValidator(fact_pattern),
    _kind("facts", type="string", pattern=rf"^(result|event)\.{_PATTERN}$"),
]
EmissionPattern = Annotated[
    str,
    AfterValidator(emission_pattern),
    _kind("emission", type="string", pattern=rf"^(task|event)\.{_PATTERN}$"),
]
Expression = Annotated[
    str, Field(min_length=1, max_length=4096), _kind("expression", type="string", minLength=1)
]
