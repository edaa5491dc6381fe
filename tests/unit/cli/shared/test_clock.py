"""A time has its date where it is not today."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

from agentd.cli.shared.clock import clock


def test_a_time_of_another_day_has_its_date() -> None:
    noon = datetime.now().astimezone().replace(hour=12, minute=0, second=5, microsecond=0)
    yesterday = noon - timedelta(days=1)

    assert clock(yesterday.timestamp()) == f"{yesterday:%Y-%m-%d} 12:00:05"


def test_a_time_of_today_has_none() -> None:
    # Around midnight `today` may change between two lines.
    assert re.fullmatch(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d", clock(time.time()))
    now = datetime.now().astimezone()
    assert clock(now.timestamp()).endswith(f"{now:%H:%M:%S}")
