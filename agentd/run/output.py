"""Structured output: the JSON value in an answer, or the correction that the model is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from agentd.errors import AgentdError, TaskError
from agentd.manifest.agent import Manifest
from agentd.manifest.json_schema.check import foreign_schema_error, value_error
from agentd.manifest.limits import Output
from agentd.models.port import CORRECTION
from agentd.protocol.message import AgentMessage

_FENCE = "```"
_LANGUAGE = re.compile(r"[\w+.-]*\s*")
_THOUGHT_ENDS = ("</think>", "</thinking>", "</thought>", "</reasoning>")
_START = re.compile(r"""\{\s*["}]|\[\s*[\[\]{"\d\-tfn]""")
_MOST_VALUES = 50  # of one answer that are checked
# So many times something that begins like JSON may be none: Python counts the lines of the whole
# text for each error.
_MOST_MISTAKES = 200

# The schema of a sender that wants JSON, whatever its form.
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}


class Unusable(AgentdError):
    """An answer that is not the required JSON; the text says why."""


async def required_output(manifest: Manifest, message: AgentMessage) -> Output | None:
    """The form that the answer must have: that of the manifest, or else that of the sender.

    Raises:
        TaskError: the manifest has another form than the sender asks for, or the sender's schema
            is not valid (`answer_schema`).
    """
    asked = message.payload.answer_schema
    if asked is None or manifest.output:
        if asked not in (None, ANY_OBJECT) and manifest.output and manifest.output.schema_ != asked:
            text = f"{manifest.name} has an `output` of its own; leave out the schema of the answer"
            raise TaskError(text, code="answer_schema")
        return manifest.output
    if problem := await foreign_schema_error(asked):
        text = f"payload.answerSchema is not a valid JSON Schema: {problem}"
        raise TaskError(text, code="answer_schema")
    return Output(schema=asked)


async def value_of(text: str, schema: Mapping[str, Any], *, cut: bool = False) -> Any:
    """The JSON value in `text` that fits `schema`.

    Models write thoughts before the value, put it into a Markdown fence, or a sentence around it.
    The whole text is tried first, then its fences, then what looks like JSON in it. Of an answer
    that was `cut` off, only the whole text counts: a value inside it may be a part of the answer.

    Raises:
        Unusable: there is no such value, or there are several that differ.
    """
    # Inside a value, the marks of thoughts are text.
    said = text if _is_json(text) else _without_thoughts(text)
    whole: list[Any] = []
    mistake = ""
    try:
        whole.append(_parsed(said))
    except (ValueError, RecursionError) as error:
        mistake = f"it is not JSON: {error}"
    for values in _readings(said, whole, cut=cut):
        fitting: list[Any] = []
        for value in islice(values, _MOST_VALUES):
            wrong = await value_error(value, schema)
            if wrong:
                mistake = f"it does not fit the JSON Schema: {wrong}"
            elif value not in fitting:
                fitting.append(value)
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise Unusable(f"it has {len(fitting)} JSON values that fit; write only one")
    raise Unusable(mistake)


def correction(error: Unusable) -> str:
    """The message that asks the model to correct its answer."""
    return f"{CORRECTION}{error}\nAnswer again, with nothing but the JSON."


def _readings(said: str, whole: list[Any], *, cut: bool) -> Iterator[Iterable[Any]]:
    """The values of an answer, in groups: a later group counts if no value of an earlier one does.

    If the whole text is JSON, the value in it is the answer; it may be JSON written as a text.
    """
    yield whole
    if whole and isinstance(whole[0], str):
        yield _values_in(whole[0])
    elif not whole and not cut:
        yield _fenced(said)
        yield _values_in(said)


def _without_thoughts(text: str) -> str:
    """What follows a block of thoughts. Its beginning may be missing: some servers put it into the
    prompt. If nothing follows, the whole text."""
    end = max((text.rfind(mark) + len(mark) for mark in _THOUGHT_ENDS if mark in text), default=0)
    return text[end:] if text[end:].strip() else text


def _fenced(text: str) -> Iterator[Any]:
    """The values in Markdown fences; the last fence may have no end."""
    for part in text.split(_FENCE)[1::2]:
        language = _LANGUAGE.match(part)
        inner = part[language.end() :] if language else part
        for content in (inner, part):
            if _is_json(content):
                yield _parsed(content)
                break


def _values_in(text: str) -> Iterator[Any]:
    """The objects and arrays in a text, from left to right.

    After a mistake the search goes on where the mistake is, not behind the bracket: what stands
    inside broken JSON is a part of it.
    """
    decoder, at, mistakes = json.JSONDecoder(parse_constant=_refuse), 0, 0
    while mistakes < _MOST_MISTAKES and (found := _START.search(text, at)):
        try:
            value, at = decoder.raw_decode(text, found.start())
            yield value
        except json.JSONDecodeError as error:
            at = max(error.pos, found.start() + 1)
            mistakes += 1
        except (ValueError, RecursionError):
            return


def _is_json(text: str) -> bool:
    try:
        _parsed(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(text: str) -> Any:
    # A byte order mark and a CR are no JSON to Python, but they are no mistake of the answer.
    return json.loads(text.strip("\ufeff \t\r\n"), parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
