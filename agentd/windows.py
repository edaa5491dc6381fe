"""What was taken of each rate lately, shared by the replicas."""

from __future__ import annotations

import math

from agentd.manifest.rate import Allowance, Window
from agentd.nats.bus import Bus
from agentd.nats.shared_value import Shared
from agentd.nats.streams import RATES, bucket
from agentd.protocol.subjects import digest


def book(bus: Bus, env: str, key: str, allowance: Allowance) -> Shared[Window]:
    """The window of the rate `key`; it is dropped when nothing in it can count any more."""
    subject = f"{bucket(RATES)}.{env}.{digest(key)}"
    ttl = math.ceil(2 * allowance.period)
    return Shared(bus, RATES, subject, parse=Window.parse, ttl=ttl)
