"""What a scenario has found: figures, and a sentence for each broken promise.

A fault that met no work shows nothing: a scenario in which this happens has failed, too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Findings:
    """The measured figures of a scenario, and a sentence for each broken promise.

    Attributes:
        met: how much work each kind of fault met: running calls, waiting or newly sent tasks.
    """

    figures: dict[str, float | str] = field(default_factory=dict[str, float | str])
    broken: list[str] = field(default_factory=list[str])
    met: Counter[str] = field(default_factory=Counter[str])

    def require(self, holds: bool, otherwise: str) -> None:
        """Reports the sentence `otherwise` as a broken promise if `holds` is false."""
        if not holds:
            self.broken.append(otherwise)

    def close(self) -> None:
        """Reports each kind of fault that met no work during the whole scenario."""
        vacuous = [fault for fault, work in self.met.items() if not work]
        self.broken += [f"nothing is shown: {fault} met no work" for fault in vacuous]

    def at_most(self, name: str, value: float, limit: float, unit: str = "") -> None:
        """Records a figure, and reports it if it exceeds the limit.

        Of a figure that is recorded several times, the largest value is kept.
        """
        self.figures[name] = max(round(value, 3), float(self.figures.get(name, 0)))
        self.require(value <= limit, f"{name.replace('_', ' ')} {value:,.3g} > {limit:,.3g}{unit}")
