"""Which NATS server to connect to, and with which credentials.

The places are, in this order: the flag `--nats`, the environment, the context of the nats command
line, the embedded server.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from string import Template
from typing import Any
from urllib.parse import unquote, urlsplit

from agentd.errors import UsageError
from agentd.nats import context as nats_context
from agentd.protocol.server_subjects import API
from agentd.settings import Settings

# As the value of --nats, it takes precedence over the environment and the contexts.
EMBEDDED = "embedded"

_SCHEMES = ("nats", "tls", "ws", "wss")
_VARIABLES = {
    "creds": "NATS_CREDS",
    "nkey": "NATS_NKEY",
    "user": "NATS_USER",
    "password": "NATS_PASSWORD",
    "token": "NATS_TOKEN",
    "cert": "NATS_CERT",
    "key": "NATS_KEY",
    "ca": "NATS_CA",
}
_CREDENTIALS = ("creds", "nkey", "user_jwt", "user_seed", "user", "password", "token")
_TLS = ("cert", "key", "ca")
_FILES = ("creds", "nkey", *_TLS)

# From our names, which are those of the context files, to the options of nats-py.
_LOGIN = {
    "creds": "user_credentials",
    "nkey": "nkeys_seed",
    "user_seed": "nkeys_seed_str",
    "user": "user",
    "password": "password",
    "token": "token",
}


class _TlsContext(ssl.SSLContext):
    """A context that reads its files again for each connection: they may have been replaced."""

    files: Mapping[str, str]

    def reload(self) -> None:
        """Reads the files.

        Raises:
            OSError, ValueError: one cannot be used.
        """
        if "ca" in self.files:
            self.load_verify_locations(self.files["ca"])
        else:
            self.load_default_certs()
        if "cert" in self.files:
            self.load_cert_chain(self.files["cert"], self.files.get("key"))


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to connect, and with which credentials.

    Attributes:
        label: the place, for messages to the user; without secrets.
        embedded: whether it is the embedded server. Its URL is not known before it runs; see `at`.
        servers: the URLs, without user and password.
        credentials: `creds`, `nkey` (files), `user_jwt`, `user_seed`, `user`, `password`, `token`.
        tls: the files `cert`, `key` and `ca`.
        tls_first: whether the TLS handshake comes before the first message of the server.
        inbox_prefix: the prefix of subjects for answers; "" is the default one.
    """

    label: str
    embedded: bool = False
    servers: tuple[str, ...] = field(default=(), repr=False)
    credentials: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    tls: Mapping[str, str] = field(default_factory=dict[str, str])
    tls_first: bool = False
    inbox_prefix: str = ""

    def at(self, url: str, token: str) -> Target:
        """The same target with the address of the embedded server, which runs now."""
        return replace(self, servers=(url,), credentials={"token": token})

    def options(self) -> dict[str, Any]:
        """The keyword arguments of `nats.connect`.

        Raises:
            UsageError: a certificate cannot be used.
        """
        options: dict[str, Any] = {"servers": list(self.servers)}
        options |= {
            _LOGIN[name]: value for name, value in self.credentials.items() if name in _LOGIN
        }
        if jwt := self.credentials.get("user_jwt"):
            options["user_jwt_cb"] = jwt.encode
        if self.tls or self.tls_first:
            options["tls"] = self._tls_context()
            options["tls_handshake_first"] = self.tls_first
        if self.inbox_prefix:
            options["inbox_prefix"] = self.inbox_prefix
        return options

    def _tls_context(self) -> ssl.SSLContext:
        context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)
        context.files = self.tls
        try:
            context.reload()
        except (OSError, ValueError) as error:
            files = ", ".join(f"{name} {file}" for name, file in self.tls.items())
            raise UsageError(f"TLS for {self.label}: {error} ({files})") from None
        return context


def resolve(settings: Settings, environ: Mapping[str, str] = os.environ) -> Target:
    """The target: `--nats`, or `NATS_URL`, or the context of the nats command line, or the embedded
    server.

    All credentials come from the first of these places that has any: the URL itself, the
    environment (`NATS_CREDS`, `NATS_NKEY`, `NATS_USER` and `NATS_PASSWORD`, `NATS_TOKEN`), the
    context. So do the TLS files (`NATS_CERT`, `NATS_KEY`, `NATS_CA`). Credentials of two places are
    never mixed.

    Raises:
        UsageError: a value cannot be used; the text names the flag, the variable, or the file and
            its field.
    """
    embedded = Target(label=f"embedded nats-server ({settings.state})", embedded=True)
    if settings.nats == EMBEDDED:
        return embedded
    variables = _from_environment(environ)
    if settings.nats:
        return _at_url(settings.nats, "--nats", variables)
    if url := environ.get("NATS_URL"):
        return _at_url(url, "NATS_URL", variables)
    if context := nats_context.read(environ):
        return _at_context(context, variables, environ)
    # The user surely means another server than the embedded one, which has its own token.
    if unused := [_VARIABLES[name] for name in variables if name in _CREDENTIALS]:
        raise UsageError(
            f"{', '.join(unused)} is set, but no server: set NATS_URL, or pass --nats {EMBEDDED}"
        )
    return embedded


def _at_url(urls: str, what: str, variables: Mapping[str, str]) -> Target:
    servers, user = _servers(urls, what)
    return Target(
        label=_shown(servers),
        servers=servers,
        credentials=user or _only(_CREDENTIALS, variables),
        tls=_only(_TLS, variables),
    )


def _at_context(
    context: nats_context.NatsContext, variables: Mapping[str, str], environ: Mapping[str, str]
) -> Target:
    names = {name: f'{context.file}: "{name}"' for name in context.values}
    values = _checked(context.values, names, environ)
    servers, user = _servers(context.url, f'{context.file}: "url"')
    for name in ("jetstream_domain", "jetstream_api_prefix"):
        if values.get(name, API) != API:
            raise UsageError(
                f"{names[name]} selects the JetStream of another server, but agentd keeps its "
                "streams on the server that it connects to; connect to a server of that domain, "
                "with a context that does not have this field"
            )
    return Target(
        label=f'nats context "{context.name}" ({_shown(servers)})',
        servers=servers,
        credentials=user or _only(_CREDENTIALS, variables) or _only(_CREDENTIALS, values),
        tls=_only(_TLS, variables) or _only(_TLS, values),
        tls_first=context.tls_first,
        inbox_prefix=values.get("inbox_prefix", ""),
    )


def _from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    given = {name: environ[key] for name, key in _VARIABLES.items() if environ.get(key)}
    if "user" in given and "password" not in given:
        given["token"] = given.pop("user")  # as the nats command line: "Username or Token"
    return _checked(given, _VARIABLES, environ)


def _checked(
    values: Mapping[str, str], names: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, str]:
    """`values` with the paths of existing files; `names` has the name of each value for errors."""
    for name, partner in (("password", "user"), ("key", "cert")):
        if name in values and partner not in values:
            raise UsageError(f"{names[name]} is set, but no {partner}")
    if "user_jwt" in values and not values.keys() & {"user_seed", "nkey"}:
        raise UsageError(f"{names['user_jwt']} is set, but no user_seed")
    checked = dict(values)
    for name in values.keys() & set(_FILES):
        checked[name] = _file(values[name], names[name], environ)
    if "user" in checked:
        checked.setdefault("password", "")  # nats-py sends no user without one
    return checked


def _file(value: str, name: str, environ: Mapping[str, str]) -> str:
    path = Template(value.removeprefix("file://")).safe_substitute(environ)
    if path.startswith("~/"):
        path = str(nats_context.home(environ) / path[2:])
    try:
        with open(path, "rb"):
            return path
    except OSError as error:
        raise UsageError(f"{name}: {path}: {error.strerror}") from None


def _servers(urls: str, what: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """The URLs of a comma-separated list, and the credentials that were in them."""
    try:
        found = [_server(url.strip()) for url in urls.split(",") if url.strip()]
    except ValueError:
        # Hides everything up to the last "@": an unescaped character of the password may be why
        # the URL cannot be parsed.
        user, at, hosts = urls.rpartition("@")
        raise UsageError(
            f"{what}: {'***' if user else ''}{at}{hosts} is not an address like nats://host:4222 "
            "(in a user or password, write special characters like %40)"
        ) from None
    servers = tuple(server for server, _ in found)
    if not servers:
        raise UsageError(f"{what}: it has no address")
    # nats-py gets one transport and one set of credentials for the whole list.
    if len({urlsplit(server).scheme in ("ws", "wss") for server in servers}) > 1:
        raise UsageError(f"{what}: websocket and other addresses cannot be mixed")
    users = [user for _, user in found if user]
    if any(user != users[0] for user in users):
        raise UsageError(f"{what}: every address must have the same user and password")
    return servers, users[0] if users else {}


def _server(url: str) -> tuple[str, dict[str, str]]:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    # Reading `port` raises ValueError for one that is no number, or over 65535.
    if parts.port == 0 or parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError
    if not url.isprintable() or " " in url or (parts.password and not parts.username):
        raise ValueError
    server = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    if not parts.username:
        return server, {}
    if parts.password is None:
        return server, {"token": unquote(parts.username)}
    return server, {"user": unquote(parts.username), "password": unquote(parts.password)}


def _shown(servers: tuple[str, ...]) -> str:
    return ", ".join("{0.scheme}://{0.netloc}".format(urlsplit(server)) for server in servers)


def _only(names: tuple[str, ...], values: Mapping[str, str]) -> dict[str, str]:
    return {name: values[name] for name in names if name in values}
