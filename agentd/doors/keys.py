"""The keys that a process accepts: those of its file, as it is at each request."""

from __future__ import annotations

import hmac
import logging
import os
from collections.abc import Sequence

from agentd.doors.caller import Caller
from agentd.doors.key_file import Key, KeyFile, digest
from agentd.doors.refusal import Refusal
from agentd.errors import UsageError

log = logging.getLogger(__name__)

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="agentd"'}
_GONE = (0,)  # what is seen where a file was, or has to be


class Keys:
    """The keys that a process accepts.

    Once there was a file, requests need a key for as long as the process runs: a file that is
    removed or damaged never opens what was closed. With `needed` they need one from the start.
    """

    def __init__(self, file: KeyFile, *, needed: bool = False) -> None:
        self._file = file
        self._keys: Sequence[Key] = ()
        self._seen: tuple[int, ...] | None = _GONE if needed else None

    def read(self) -> None:
        """Reads the file, when the process begins.

        Raises:
            UsageError: it cannot be read, or is no file of keys.
        """
        self._seen = self._look()
        self._keys = self._file.read()

    @property
    def are_needed(self) -> bool:
        """Whether there are keys, or were some since the process began."""
        self._refresh()
        return self._seen is not None

    def caller(self, secret: str) -> Caller:
        """Who has this key.

        Raises:
            Refusal: 401; nobody has it, or it has expired.
        """
        self._refresh()
        given = digest(secret)
        # Every key is compared: the time says nothing about which of them is near.
        found = [key for key in self._keys if hmac.compare_digest(key.sha256, given)]
        if not found:
            raise unauthorized("this key is unknown, or it was revoked")
        if found[0].is_expired:
            raise unauthorized(f"the key {found[0].name!r} has expired; make a new one")
        return found[0].caller

    def _refresh(self) -> None:
        """Reads the file again if it has changed. A file that cannot be read changes nothing."""
        seen = self._look()
        if seen == self._seen:
            return
        first = self._seen is None
        # Before it is read: a file with a mistake is reported once, and not at each request.
        self._seen = seen or _GONE
        try:
            self._keys = self._file.read()
        except UsageError as error:
            log.error("%s; the keys stay unchanged", error)
        else:
            names = ", ".join(key.name for key in self._keys) or "none: every request is refused"
            log.info("requests need a key now: %s" if first else "keys reloaded: %s", names)

    def _look(self) -> tuple[int, ...] | None:
        """What changes with the file; None without a file."""
        try:
            stat = os.stat(self._file.path)
        except OSError:
            return _GONE if self._seen else None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size


def unauthorized(text: str) -> Refusal:
    """The refusal of a request whose key is missing or wrong."""
    return Refusal(401, "unauthorized", text, headers=_CHALLENGE)
