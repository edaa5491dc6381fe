"""Whether a JSON Schema is valid, and whether a value fits it, in a bounded number of steps.

A small schema can ask for more work than any machine can do: by references that double at each
level, or by a regular expression that backtracks. A check that takes too many steps ends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from agentd.errors import AgentdError
from agentd.manifest.json_schema.steps import TooManySteps, at_most

if TYPE_CHECKING:
    from agentd.manifest.json_schema.validator import Validator

MOST_STEPS = 200_000  # of one check: two seconds
QUICK_STEPS = 1_000  # of a check in the event loop: 10 ms

_CACHED_SCHEMAS = 512
_LONGEST_SCHEMA = 200_000  # characters as JSON: more than any model reads
_MAX_TEXT = 500  # characters of an error, which may quote the whole value


# One thread of its own, so that slow checks wait for one another and for nothing else.
_slow = ThreadPoolExecutor(1, thread_name_prefix="schema")


@dataclass(frozen=True)
class Misfit:
    """Why a value does not fit a schema; `path` leads to the part of the value that is wrong."""

    text: str
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return _text(self.text, self.path)


class _Invalid(AgentdError):
    """The schema is not valid; the text says why."""


def schema_error(schema: Mapping[str, Any]) -> str:
    """Why `schema` is not a valid JSON Schema (draft 2020-12); "" if it is valid. It may take
    seconds."""
    try:
        return _schema_error(schema, MOST_STEPS)
    except TooManySteps:
        return f"it is too complex: its check takes more than {MOST_STEPS:,} steps"


async def foreign_schema_error(schema: Mapping[str, Any]) -> str:
    """As `schema_error`, in the event loop: a check that takes more than a few milliseconds is done
    in a thread."""
    try:
        return _schema_error(schema, QUICK_STEPS)
    except TooManySteps:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_slow, schema_error, schema)


def _schema_error(schema: Mapping[str, Any], most: int) -> str:
    try:
        with at_most(most), _explained():
            _validator(json.dumps(schema))
    except _Invalid as error:
        return str(error)
    return ""


async def value_error(value: Any, schema: Mapping[str, Any]) -> str:
    """As `misfit`, in words; "" if the value fits."""
    found = await misfit(value, schema)
    return str(found) if found else ""


async def misfit(value: Any, schema: Mapping[str, Any]) -> Misfit | None:
    """Why `value` does not fit `schema`, by the most relevant error; None if it fits.

    A check that takes more than a few milliseconds is done in a thread. No value fits a schema that
    is invalid, or that takes more than `MOST_STEPS` steps to check.
    """
    try:
        return _misfit(value, schema, QUICK_STEPS)
    except TooManySteps:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(_slow, misfit_now, value, schema)


def misfit_now(value: Any, schema: Mapping[str, Any]) -> Misfit | None:
    """As `misfit`, for code outside of the event loop: it may take seconds."""
    try:
        return _misfit(value, schema, MOST_STEPS)
    except TooManySteps:
        text = f"the schema is too complex: its check takes more than {MOST_STEPS:,} steps"
        return Misfit(text)


def _misfit(value: Any, schema: Mapping[str, Any], most: int) -> Misfit | None:
    from agentd.manifest.json_schema.validator import first_error

    try:
        with at_most(most), _explained():
            error = first_error(_validator(json.dumps(schema)), value)
    except _Invalid as failure:
        return Misfit(f"the schema itself is invalid: {failure}")
    return Misfit(error.message[:_MAX_TEXT], tuple(error.absolute_path)) if error else None


@lru_cache(_CACHED_SCHEMAS)
def _validator(schema: str) -> Validator:
    from agentd.manifest.json_schema.validator import validator_of

    if len(schema) > _LONGEST_SCHEMA:
        raise _Invalid(f"it has more than {_LONGEST_SCHEMA:,} characters")
    return validator_of(json.loads(schema))


@contextmanager
def _explained() -> Generator[None]:
    """Turns what the library raises because of a schema into our error."""
    from agentd.manifest.json_schema.validator import FAILURES, SchemaError

    try:
        yield
    except SchemaError as error:
        raise _Invalid(_text(error.message, error.absolute_path)) from None
    except FAILURES as error:
        raise _Invalid(str(error)[:_MAX_TEXT]) from None


def _text(message: str, path: Iterable[str | int]) -> str:
    where = "".join(f"[{part!r}]" for part in path)
    return message[:_MAX_TEXT] + (f" (at {where[:200]})" if where else "")
