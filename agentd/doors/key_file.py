"""The file of keys: who has one, and what it allows. It holds digests, never a key."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentd.doors.caller import LOCAL, RIGHTS, Caller
from agentd.errors import UsageError
from agentd.protocol.subjects import is_token

_PREFIX = "agentd_"  # so that a scanner of secrets knows one that leaked
_LARGEST_FILE = 2**20


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is stored of a key.

    Attributes:
        sha256: the digest, in hex. A key is 256 random bits: no salt or slow hash is needed.
        agents: the agents that it is for; None for all.
        created, expires: seconds since the epoch; `expires` is None for never.
    """

    name: str
    sha256: str
    may: frozenset[str]
    agents: frozenset[str] | None
    created: float
    expires: float | None

    @property
    def caller(self) -> Caller:
        """Who sends requests with this key."""
        return Caller(name=self.name, may=self.may, agents=self.agents)

    @property
    def is_expired(self) -> bool:
        return self.expires is not None and self.expires <= time.time()


class KeyFile:
    """The file of keys: JSON that `agentd keys` writes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Key]:
        """The keys; none without a file.

        Raises:
            UsageError: the file cannot be read, or is not what `agentd keys` writes.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(_LARGEST_FILE + 1)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from None
        try:
            if len(data) > _LARGEST_FILE:
                raise ValueError("larger than 1 MB")
            return _keys_of(json.loads(data))
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            hint = "mend it, or remove it and make new keys with `agentd keys add`"
            raise UsageError(f"{self.path}: is no file of keys: {error}; {hint}") from None

    def add(
        self,
        name: str,
        may: Iterable[str],
        *,
        agents: Iterable[str] | None = None,
        expires: float | None = None,
    ) -> str:
        """Makes a key; returns it. It cannot be read again.

        Raises:
            UsageError: there is a key of this name, or a name or a right is wrong.
        """
        secret = _PREFIX + secrets.token_urlsafe(32)
        key = Key(
            name=_name(name),
            sha256=digest(secret),
            may=_rights(may),
            agents=None if agents is None else frozenset(map(_agent, agents)),
            created=time.time(),
            expires=expires,
        )
        with self._locked():
            keys = self.read()
            if any(each.name == name for each in keys):
                raise UsageError(f"there is a key {name!r} already; `agentd keys revoke {name}`")
            self._write([*keys, key])
        return secret

    def revoke(self, name: str) -> None:
        """Removes a key: it is refused from the next request on.

        Raises:
            UsageError: there is none of this name.
        """
        with self._locked():
            keys = self.read()
            left = [key for key in keys if key.name != name]
            if len(left) == len(keys):
                known = ", ".join(key.name for key in keys) or "no key"
                raise UsageError(f"there is no key {name!r}: {self.path} has {known}")
            self._write(left)

    def _write(self, keys: Sequence[Key]) -> None:
        """Replaces the file. Readers see the old or the new one; others cannot read it."""
        text = json.dumps({"keys": [as_json(key) for key in keys]}, indent=2) + "\n"
        draft = self.path.with_name(f"{self.path.name}.new")
        draft.unlink(missing_ok=True)
        # The mode at creation: the file is never readable for others, not even for a moment.
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Two commands at the same time must not lose a key. The folder is locked: the file itself
        is replaced."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise UsageError(f"{self.path.parent}: {error.strerror}") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        except OSError as error:
            raise UsageError(f"{self.path}: {error.strerror}") from None
        finally:
            os.close(folder)


def digest(secret: str) -> str:
    """What is stored of a key."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _keys_of(content: Any) -> list[Key]:
    keys = [_key_of(fields) for fields in _list(content["keys"])]
    if len({key.name for key in keys}) < len(keys):
        raise ValueError("two keys have the same name")
    return keys


def _key_of(fields: Any) -> Key:
    """One key of the file. It gives access: everything about it must be as it was written."""
    if not isinstance(fields, dict):
        raise ValueError(f"{fields!r} is no key")
    unknown = fields.keys() - {"name", "sha256", "may", "agents", "created", "expires"}
    if unknown:
        raise ValueError(f"unknown field {min(unknown)!r}")
    sha256 = fields["sha256"]
    if len(bytes.fromhex(sha256)) != 32:
        raise ValueError(f"the digest of {fields['name']!r} is not 64 hex digits")
    agents, expires = fields.get("agents"), fields.get("expires")
    try:
        return Key(
            name=_name(fields["name"]),
            sha256=sha256.lower(),
            may=_rights(_list(fields["may"])),
            agents=None if agents is None else frozenset(map(_agent, _list(agents))),
            created=_seconds(fields["created"]),
            expires=None if expires is None else _seconds(expires),
        )
    except UsageError as error:
        raise ValueError(str(error)) from None


def as_json(key: Key) -> dict[str, Any]:
    """A key as the file has it."""
    return {
        "name": key.name,
        "sha256": key.sha256,
        "may": sorted(key.may),
        "agents": None if key.agents is None else sorted(key.agents),
        "created": _moment(key.created),
        "expires": None if key.expires is None else _moment(key.expires),
    }


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    return value


def _name(name: Any) -> str:
    # It is recorded as the one who decided on an approval.
    if not isinstance(name, str) or not is_token(name) or name == LOCAL.name:
        raise UsageError(f"a key cannot be named {name!r}: 1 to 64 of A-Z a-z 0-9 _ -, not `local`")
    return name


def _agent(name: Any) -> str:
    if not isinstance(name, str) or not is_token(name):
        raise UsageError(f"{name!r} is not the name of an agent")
    return name


def _rights(rights: Iterable[Any]) -> frozenset[str]:
    given = list(rights)
    for right in given:
        if right not in RIGHTS:
            raise UsageError(f"{right!r} is no right; a key may {', '.join(sorted(RIGHTS))}")
    if not given:
        raise UsageError(f"a key needs a right: {', '.join(sorted(RIGHTS))}")
    return frozenset(given)


def _seconds(moment: Any) -> float:
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone")
    return parsed.timestamp()


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
