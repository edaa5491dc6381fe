"""When a failed attempt is worth another one, and how long to wait for it."""

from __future__ import annotations

import random

from agentd.errors import ModelError, TaskError
from agentd.manifest.limits import Retry


def pause(policy: Retry, attempt: int, error: TaskError) -> float:
    """The seconds between `attempt`, which ended with `error`, and the next one.

    Backoff with full jitter, so that replicas that failed together do not come back together; and
    never less than a provider asked for.
    """
    longest = min(policy.max_backoff, policy.backoff * 2 ** (attempt - 1))
    asked = (error.retry_after or 0.0) if isinstance(error, ModelError) else 0.0
    return max(random.uniform(0, longest), asked)
