"""What a scenario has found: figures, and a sentence for each broken promise."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Findings:
    """The measured figures of a scenario, and a sentence for each broken promise."""

    figures: dict[str, float | str] = field(default_factory=dict[str, float | str])
    broken: list[str] = field(default_factory=list[str])

    def require(self, holds: bool, otherwise: str) -> None:
        """Reports the sentence `otherwise` as a broken promise if `holds` is false."""
        if not holds:
            self.broken.append(otherwise)

    def at_most(self, name: str, value: float, limit: float, unit: str = "") -> None:
        """Records a figure, and reports it if it exceeds the limit.

        Of a figure that is recorded several times, the largest value is kept.
        """
        self.figures[name] = max(round(value, 3), float(self.figures.get(name, 0)))
        self.require(value <= limit, f"{name.replace('_', ' ')} {value:,.3g} > {limit:,.3g}{unit}")
