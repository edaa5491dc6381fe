"""Durations, rates, names, topics and patterns, as users write them in a manifest.

Every function raises `ValueError(problem, hint)`; the hint is "" if there is nothing to add.
`agentd.manifest.diagnose` adds the place.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, Strict, WithJsonSchema

from agentd.errors import SubjectError
from agentd.manifest.rate import Allowance
from agentd.protocol.subjects import TOKEN, token

LONGEST_DURATION = 30 * 86400.0  # seconds

# Digits are bounded, so that a text of a megabyte cannot become a number that takes seconds.
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s?(ms|s|m|h|d)")
_PERIODS = {"s": 1.0, "min": 60.0, "h": 3600.0, "day": 86400.0}
_RATE = re.compile(r"([0-9]{1,9})\s?/\s?(s|min|h|day)")
_TOPIC = re.compile(rf"{TOKEN}\.{TOKEN}")
_PATTERN = rf"({TOKEN}|\*)\.({TOKEN}|\*)"


def seconds(value: object, *, longest: float = LONGEST_DURATION) -> float:
    """`500ms`, `120s`, `2m`, `1h`, `1d` or a number, in seconds: more than 0, at most `longest`."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match:
        number = float(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    else:
        raise ValueError("must be a duration", "write 500ms, 120s, 2m or 1h")
    # This also refuses NaN, for which every comparison is false.
    if not 0 < number <= longest:
        raise ValueError(f"must be more than 0 and at most {longest / 86400:g} days", "")
    return number


def allowance(value: object) -> Allowance:
    """The rate of a text: `60/min` is 60 in 60 seconds. The units are s, min, h and day."""
    match = _RATE.fullmatch(value) if isinstance(value, str) else None
    if not match or not int(match[1]):
        raise ValueError("must be a rate", "write 60/min, 5/s or 1000/day")
    return Allowance(int(match[1]), _PERIODS[match[2]])


def subject_name(value: str) -> str:
    """`value`, if it can be a token of a subject and is not reserved for agentd."""
    try:
        token(value, "a name")
    except SubjectError:
        hint = "write only the domain, without a dot" if "." in value else ""
        raise ValueError("must be 1 to 64 of A-Z a-z 0-9 _ -", hint) from None
    if value.startswith("_"):
        raise ValueError("must not begin with _", "such names are reserved for agentd")
    return value


def topic(value: str) -> str:
    """`domain.specificity`, the part of a subject that users choose."""
    if not _TOPIC.fullmatch(value):
        raise ValueError("must be `domain.specificity`", "for example factcheck.claims")
    return value


def fact_pattern(value: str) -> str:
    """A pattern of facts: `result` or `event`, then domain and specificity, each a name or `*`."""
    if not re.fullmatch(rf"(result|event)\.{_PATTERN}", value):
        hint = "for example result.research.* or event.review.requested"
        raise ValueError("must be `result.` or `event.` and two more parts", hint)
    return value


def emission_pattern(value: str) -> str:
    """A pattern of tasks or events that a model may emit; the form is that of `fact_pattern`."""
    if not re.fullmatch(rf"(task|event)\.{_PATTERN}", value):
        hint = "for example task.research.* or event.report.ready"
        raise ValueError("must be `task.` or `event.` and two more parts", hint)
    return value


def no_duplicates(values: tuple[str, ...]) -> tuple[str, ...]:
    """`values`, if no value occurs twice."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"has `{value}` twice", "remove one")
        seen.add(value)
    return values


def not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """`values`, if there is at least one.

    pydantic's `min_length` would also report a list whose only item is wrong as empty.
    """
    if not values:
        raise ValueError("is empty", "")
    return values


def as_list(value: Any) -> Any:
    """A list with this text, or `value` itself if it is not a text."""
    return [value] if isinstance(value, str) else value


def one_of_types(words: str, *kinds: type) -> BeforeValidator:
    """Accepts a value of one of `kinds`, which `words` names in the problem.

    A union of types would report one error for each of them.
    """

    def check(value: Any) -> Any:
        if not isinstance(value, kinds):
            raise ValueError(f"must be {words}", "")
        return value

    return BeforeValidator(check)


def _written_as(name: str, **schema: Any) -> WithJsonSchema:
    """The JSON Schema of a written form. The reference shows its title as the type of a field."""
    return WithJsonSchema({"title": name, **schema})


# Without Strict, pydantic would accept "8" as a number and "yes" as true.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Priority = Annotated[Whole, Field(ge=0, le=9)]
Money = Annotated[Number, Field(ge=0, le=1e6)]

Duration = Annotated[
    float,
    BeforeValidator(seconds),
    _written_as(
        "duration",
        anyOf=[
            {"type": "string", "pattern": f"^{_DURATION.pattern}$"},
            {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_DURATION},
        ],
    ),
]
Rate = Annotated[
    Allowance,
    BeforeValidator(allowance),
    _written_as("rate", type="string", pattern=f"^{_RATE.pattern}$"),
]
Name = Annotated[
    str, AfterValidator(subject_name), _written_as("name", type="string", pattern=f"^(?!_){TOKEN}$")
]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(as_list, json_schema_input_type=Name | tuple[Name, ...]),
    AfterValidator(no_duplicates),
]
Topic = Annotated[
    str, AfterValidator(topic), _written_as("topic", type="string", pattern=rf"^{TOKEN}\.{TOKEN}$")
]
FactPattern = Annotated[
    str,
    AfterValidator(fact_pattern),
    _written_as("fact pattern", type="string", pattern=rf"^(result|event)\.{_PATTERN}$"),
]
EmissionPattern = Annotated[
    str,
    AfterValidator(emission_pattern),
    _written_as("emission pattern", type="string", pattern=rf"^(task|event)\.{_PATTERN}$"),
]
Expression = Annotated[
    str, Field(min_length=1, max_length=4096), _written_as("expression", type="string", minLength=1)
]
