"""How long tests wait for a condition before they fail; longer on a machine that is known slow."""

from __future__ import annotations

import os

# `scripts/flaky.py` sets it when it slows the machine down: 5 is a fifth of the usual speed.
SLOWNESS = float(os.environ.get("TEST_SLOWNESS", "1"))
# Seconds. Long enough for a busy machine, since a test that passes never waits so long.
PATIENCE = 30.0 * SLOWNESS
