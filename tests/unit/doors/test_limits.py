"""The page about HTTP shows the limits as they are."""

from __future__ import annotations

import re
from pathlib import Path

from agentd.doors.limits import Limits

PAGE = (Path(__file__).parents[3] / "docs/http.md").read_text()


def test_the_table_of_limits_has_all_of_them() -> None:
    table = PAGE.partition("| limit | value |")[2].partition("\n\n")[0]
    shown = re.findall(r"^\| [^|]+ \| ([\d,]+)( KB| MB| s)? \|", table, re.MULTILINE)
    units = {"": 1, " KB": 1024, " MB": 2**20, " s": 1}
    values = [int(number.replace(",", "")) * units[unit] for number, unit in shown]

    assert sorted(values) == sorted(vars(Limits()).values())
