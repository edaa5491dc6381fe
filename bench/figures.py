"""Figures with their samples, and the sections of the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured quantity, with its samples.

    `at_most` or `at_least` is the aim of the project. A figure has at most one of them.
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    at_most: float | None = None
    at_least: float | None = None

    @property
    def value(self) -> float:
        """The median of the samples."""
        return median(self.samples)

    @property
    def spread(self) -> str:
        """The smallest and the largest sample."""
        if len(self.samples) == 1:
            return "one sample"
        return f"{rounded(min(self.samples))} to {rounded(max(self.samples))}"

    @property
    def aim(self) -> str:
        if self.at_most is not None:
            return f"<= {self.at_most:,g}"
        return f">= {self.at_least:,g}" if self.at_least is not None else ""

    @property
    def verdict(self) -> str:
        """`pass` or `short`; empty for a figure without an aim."""
        if self.at_most is not None:
            return "pass" if self.value <= self.at_most else "short"
        if self.at_least is not None:
            return "pass" if self.value >= self.at_least else "short"
        return ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section of the report. Without `rows`, its figures are shown as a table."""

    title: str
    figures: Sequence[Figure]
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    notes: Sequence[str] = ()


def rounded(number: float) -> str:
    """A number as text, with about three significant digits."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def percentile(samples: Sequence[float], percent: int) -> float:
    """A percentile of the samples, interpolated; `percent` is 99 for p99."""
    return quantiles(samples, n=100, method="inclusive")[percent - 1]
