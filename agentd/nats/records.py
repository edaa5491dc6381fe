"""Records that strangers may have written: one that cannot be read is skipped and named, once.

Any client that may write to a stream or a bucket can store anything there. What it stores may cost
its reader a warning, and never the other records. So every reader reads each record in a block of
`skipping`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Generator, Iterator
from functools import lru_cache

from agentd.errors import AgentdError, BusError
from agentd.nats.bus import Msg

log = logging.getLogger(__name__)

_REMEMBERED = 4096  # records that were named before
_LONGEST = 200  # characters of a subject and of a mistake


@contextlib.contextmanager
def skipping(where: str, msg: Msg) -> Generator[None]:
    """Runs a block that reads `msg`, one record of a stream or bucket.

    Whatever the record makes it raise ends the block and is logged, once for a record. Check what
    a block will use in the block: only there a mistake costs one record.

    Raises:
        BusError: the server does not answer; the record is not to blame.
    """
    try:
        yield
    except BusError:
        raise
    except Exception as error:  # noqa: BLE001 - no list of errors is complete for arbitrary bytes
        headers = msg.headers or {}
        skipped(
            where, headers.get("Nats-Subject", msg.subject), error, headers.get("Nats-Sequence")
        )


def skipped(where: str, subject: str, error: Exception, sequence: object = None) -> None:
    """Logs that a record is skipped because of `error`, unless that was logged before."""
    if next(_times(where, subject, sequence)):
        return
    place = subject[:_LONGEST] + (f", sequence {sequence}" if sequence else "")
    kind = "" if isinstance(error, AgentdError) else f"{type(error).__name__}: "
    log.warning("%s: %s is skipped: %s%s", where, place, kind, str(error)[:_LONGEST])


@lru_cache(maxsize=_REMEMBERED)
def _times(where: str, subject: str, sequence: object) -> Iterator[int]:
    """Counts how often a record was found unreadable."""
    return itertools.count()
