"""The tokens of a call, wherever a provider reports them.

Most put `usage` into the response or the last chunk. Moonshot puts it into the choice, Groq into
`x_groq`, llama.cpp into `timings`. Some report it in every chunk, as the sum so far. Anthropic's
and Gemini's own names occur behind gateways. Numbers may be texts. What is not reported is
unknown, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentd.models.port import Usage

_INPUT = ("prompt_tokens", "input_tokens", "promptTokenCount", "prompt_eval_count", "prompt_n")
_OUTPUT = (
    *("completion_tokens", "output_tokens", "candidatesTokenCount", "eval_count", "predicted_n"),
)
_TOTAL = ("total_tokens", "totalTokenCount")
_REPORTS = ("usage", "usageMetadata", "timings")
_DETAILS = (
    *("prompt_tokens_details", "completion_tokens_details"),
    *("input_tokens_details", "output_tokens_details"),
)
_REASONING = ("reasoning_tokens", "thoughtsTokenCount")
_CACHE_READ = (
    *("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens"),
    *("cachedContentTokenCount", "cache_n"),
)
_CACHE_WRITE = ("cache_creation_tokens", "cache_creation_input_tokens")


class UsageReports:
    """Collects what the chunks of one answer report. A later number counts if it is larger: some
    servers report the input in the first chunk and 0 in the last one."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Adds what a chunk, or a whole response, reports."""
        for report in _reports(chunk):
            for name, value in _flat(report):
                count = _count(value)
                if count is not None:
                    self._counts[name] = max(count, self._counts.get(name, 0))

    def usage(self) -> Usage | None:
        """The tokens of the call; None if they are not known."""
        first = self._first
        prompt, output, total = first(_INPUT), first(_OUTPUT), first(_TOTAL)
        if prompt is None and total is not None and output is not None:
            prompt = total - output
        if output is None and total is not None and prompt is not None:
            output = total - prompt
        if prompt is None or output is None or not prompt + output:
            return None
        reasoning, read = first(_REASONING) or 0, first(_CACHE_READ) or 0
        write = first(_CACHE_WRITE) or 0
        if self._excludes_cached():
            prompt += read + write
        if reasoning and total == prompt + output + reasoning:
            output += reasoning  # the outputs of xAI and Gemini do not include them, OpenAI's do
        return Usage(max(0, prompt), max(0, output), reasoning, cache_read=read, cache_write=write)

    def _excludes_cached(self) -> bool:
        """Whether the input is without the cached tokens, as Anthropic and llama.cpp count it."""
        counts = self._counts
        if "prompt_tokens" in counts:
            return False
        return ("input_tokens" in counts and "cache_read_input_tokens" in counts) or (
            "prompt_n" in counts and "input_tokens" not in counts
        )

    def _first(self, names: tuple[str, ...]) -> int | None:
        for name in names:
            if name in self._counts:
                return self._counts[name]
        return None


def _reports(chunk: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a chunk that may have counts."""
    choices, groq = chunk.get("choices"), chunk.get("x_groq")
    reports: list[Mapping[str, Any]] = []
    # `dict`, not `Mapping`: this runs for each chunk of a stream, and a protocol takes longer.
    for holder in (chunk, groq, *(choices if isinstance(choices, list | tuple) else ())):
        if isinstance(holder, dict):
            found = (holder.get(name) for name in _REPORTS if name in holder)
            reports += [report for report in found if isinstance(report, dict)]
    return reports


def _flat(report: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The counts of a report, with those of its details."""
    details = [report[name] for name in _DETAILS if isinstance(report.get(name), dict)]
    return [pair for part in (report, *details) for pair in part.items()]


def _count(value: Any) -> int | None:
    """A number of tokens, which some servers write as text; None if it is not one."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 19:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < 10**18 else None
