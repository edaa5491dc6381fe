"""The contexts of the nats command line, read from the files of that tool.

The format is defined in https://github.com/nats-io/nats-architecture-and-design, ADR-21.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from agentd.errors import UsageError
from agentd.problems import did_you_mean

DEFAULT_URL = "nats://127.0.0.1:4222"

_TEXTS = (
    *("url", "creds", "nkey", "user_jwt", "user_seed", "user", "password", "token"),
    *("cert", "key", "ca", "inbox_prefix", "jetstream_domain", "jetstream_api_prefix"),
)
# These change where or how the tool connects. Without them agentd would reach another server.
_REFUSED = ("nsc", "socks_proxy", "windows_cert_store")
# Values that the tool looks up elsewhere: 1Password, nsc, a variable, the text itself.
_REFERENCES = ("op://", "nsc://", "env://", "data:")


@dataclass(frozen=True)
class NatsContext:
    """One context. `values` has its non-empty texts, by the names of the fields in the file."""

    name: str
    file: Path
    url: str
    values: Mapping[str, str] = field(repr=False)
    tls_first: bool = False


def read(environ: Mapping[str, str]) -> NatsContext | None:
    """The context that `NATS_CONTEXT` names, or the selected one; None if there is neither.

    Raises:
        UsageError: it does not exist, is not valid, or needs something that agentd cannot do. The
            text names the file and the field, but no value, which may be a secret.
    """
    folder = _folder(environ)
    named = environ.get("NATS_CONTEXT")
    name = named or _selected(folder)
    if not name:
        return None
    file = folder / "context" / f"{name}.json"
    # A name with a slash would read a file outside the folder.
    if Path(name).name != name or not file.is_file():
        what = f"NATS_CONTEXT={name}" if named else f'{folder / "context.txt"} selects "{name}"'
        raise UsageError(f"{what}: there is no such nats context{_known(name, folder)}")
    return _parse(name, file)


def _folder(environ: Mapping[str, str]) -> Path:
    if own := environ.get("NATS_CONFIG_HOME"):
        return Path(own)
    config = environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else home(environ) / ".config") / "nats"


def home(environ: Mapping[str, str]) -> Path:
    """The user's home folder."""
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _selected(folder: Path) -> str:
    try:
        return (folder / "context.txt").read_text(errors="replace").strip()
    except OSError:
        return ""


def _known(name: str, folder: Path) -> str:
    names = sorted(file.stem for file in (folder / "context").glob("*.json"))
    if hint := did_you_mean(name, names):
        return f"; {hint}"
    return f"; existing ones: {', '.join(names)}" if names else f" in {folder / 'context'}"


def _parse(name: str, file: Path) -> NatsContext:
    try:
        parsed: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{file}:{error.lineno}:{error.colno}: {error.msg}") from None
    except ValueError:
        raise UsageError(f"{file}: not UTF-8 text") from None
    if not isinstance(parsed, dict):
        raise UsageError(f"{file}: should be a JSON object")
    fields = cast("dict[str, Any]", parsed)
    for refused in _REFUSED:
        if fields.get(refused):
            raise UsageError(f'{file}: agentd cannot use "{refused}"; {_HINT}')
    values = {text: _text(file, text, fields[text]) for text in _TEXTS if fields.get(text)}
    tls_first = fields.get("tls_first") or False
    if not isinstance(tls_first, bool):
        raise UsageError(f'{file}: "tls_first" should be true or false')
    url = values.pop("url", DEFAULT_URL)
    return NatsContext(name, file, url, values, tls_first)


_HINT = "set NATS_URL to the server and NATS_CREDS to its credentials instead"


def _text(file: Path, name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UsageError(f'{file}: "{name}" should be a string')
    if value.startswith(_REFERENCES):
        scheme = value.partition(":")[0]
        raise UsageError(f'{file}: agentd cannot look up the {scheme}: of "{name}"; {_HINT}')
    return value
