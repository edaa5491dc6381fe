"""Types that functions of users have in their signatures and their answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pydantic import BaseModel


class Point(BaseModel):
    lat: float
    title: str = "here"


@dataclass
class Options:
    detail: int = 1


class Colour(enum.Enum):
    RED = "red"
