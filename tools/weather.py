"""The weather as a tool of an agent. It is invented, so that the example needs no API key."""

from datetime import date, timedelta
from typing import Literal

SKIES = ("sunny", "cloudy", "rainy", "foggy")


def forecast(city: str, days: int = 3, unit: Literal["C", "F"] = "C") -> list[dict[str, str]]:
    """The weather of the coming days in a city.

    Args:
        city: The name of the city, without its country.
        days: How many days, today included.
        unit: Celsius or Fahrenheit.
    """
    luck = sum(map(ord, city))
    return [
        _day(luck + number, date.today() + timedelta(days=number), unit) for number in range(days)
    ]


def _day(luck: int, day: date, unit: str) -> dict[str, str]:
    celsius = luck % 30
    degrees = celsius if unit == "C" else celsius * 9 // 5 + 32
    return {"day": f"{day:%A}", "sky": SKIES[luck % len(SKIES)], "high": f"{degrees} °{unit}"}
