"""Where agentd connects, and what it says about it."""

from __future__ import annotations

import json
import ssl
import string
from pathlib import Path
from typing import Any
from urllib.parse import quote

import certifi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import UsageError
from agentd.nats.connection import Target, resolve
from agentd.settings import Settings

SECRET = "s3cr3t"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The folder of the nats command line."""
    (tmp_path / "nats" / "context").mkdir(parents=True)
    return tmp_path / "nats"


def write_context(config: Path, name: str, **fields: Any) -> dict[str, str]:
    """Writes a context as the tool does, with every unused field there and empty."""
    unused = dict.fromkeys(["url", "token", "user", "password", "creds", "nkey", "ca", "nsc"], "")
    (config / "context" / f"{name}.json").write_text(json.dumps(unused | fields))
    return {"XDG_CONFIG_HOME": str(config.parent), "NATS_CONTEXT": name}


def test_nothing_said_means_embedded(config: Path) -> None:
    target = resolve(Settings(), {"XDG_CONFIG_HOME": str(config.parent)})
    assert target.embedded
    assert target.label == "embedded nats-server (.agentd)"


def test_the_embedded_server_is_placed_once_it_runs() -> None:
    target = resolve(Settings(nats="embedded"), {}).at("nats://127.0.0.1:4711", SECRET)
    assert target.options() == {"servers": ["nats://127.0.0.1:4711"], "token": SECRET}
    assert SECRET not in repr(target)


def test_order_flag_url_context_embedded(config: Path) -> None:
    environ = write_context(config, "lab", url="nats://context:1")
    assert resolve(Settings(), environ).servers == ("nats://context:1",)
    environ["NATS_URL"] = "nats://variable:2"
    assert resolve(Settings(), environ).servers == ("nats://variable:2",)
    assert resolve(Settings(nats="flag:3"), environ).servers == ("nats://flag:3",)
    assert resolve(Settings(nats="embedded"), environ).embedded


def test_a_selected_context_is_used_and_named(config: Path) -> None:
    write_context(config, "prod", url=f"nats://me:{SECRET}@a:1,nats://me:{SECRET}@b")
    (config / "context.txt").write_text("prod\n")
    target = resolve(Settings(), {"XDG_CONFIG_HOME": str(config.parent)})
    assert target.label == 'nats context "prod" (nats://a:1, nats://b)'
    assert target.credentials == {"user": "me", "password": SECRET}


@pytest.mark.parametrize("variable", ["HOME", "NATS_CONFIG_HOME"])
def test_contexts_are_found_where_the_tool_keeps_them(tmp_path: Path, variable: str) -> None:
    config = tmp_path / ".config" / "nats"
    (config / "context").mkdir(parents=True)
    write_context(config, "lab", url="nats://lab")
    folder = tmp_path if variable == "HOME" else config
    target = resolve(Settings(), {variable: str(folder), "NATS_CONTEXT": "lab"})
    assert target.servers == ("nats://lab",)


def test_a_context_without_url_is_the_local_server(config: Path) -> None:
    assert resolve(Settings(), write_context(config, "x")).servers == ("nats://127.0.0.1:4222",)


def test_every_field_of_a_context(config: Path, tmp_path: Path) -> None:
    (tmp_path / "user.creds").touch()
    environ = write_context(
        config,
        "all",
        url="nats://host",
        creds="~/user.creds",
        user_jwt="jwt",
        user_seed="seed",
        token="token",
        inbox_prefix="_INBOX_me",
        jetstream_api_prefix="$JS.API",
        color_scheme="dark",
    )
    target = resolve(Settings(), environ | {"HOME": str(tmp_path)})
    options = target.options()
    assert options.pop("user_jwt_cb")() == b"jwt"
    assert options == {
        "servers": ["nats://host"],
        "user_credentials": str(tmp_path / "user.creds"),
        "nkeys_seed_str": "seed",
        "token": "token",
        "inbox_prefix": "_INBOX_me",
    }


@pytest.mark.parametrize("field", ["jetstream_api_prefix", "jetstream_domain"])
def test_a_context_with_another_jetstream_is_refused(config: Path, field: str) -> None:
    environ = write_context(config, "x", **{field: "hub"})
    with pytest.raises(UsageError, match=f'"{field}" selects the JetStream of another server'):
        resolve(Settings(), environ)


def test_a_user_without_password_is_a_token_in_a_variable_only(config: Path) -> None:
    environ = {"NATS_URL": "host", "NATS_USER": SECRET}
    assert resolve(Settings(), environ).credentials == {"token": SECRET}
    environ = write_context(config, "x", user="me")
    assert resolve(Settings(), environ).credentials == {"user": "me", "password": ""}


def test_credentials_come_whole_from_the_first_place(config: Path, tmp_path: Path) -> None:
    (tmp_path / "seed").touch()
    environ = write_context(config, "x", url="host", user="me", password="mine")
    environ["NATS_NKEY"] = str(tmp_path / "seed")
    assert resolve(Settings(), environ).credentials == {"nkey": str(tmp_path / "seed")}
    flag = resolve(Settings(nats="nats://token@host"), environ)
    assert flag.credentials == {"token": "token"}
    assert resolve(Settings(nats="host"), environ).options()["nkeys_seed"].endswith("seed")


def test_a_ca_makes_a_tls_context() -> None:
    options = resolve(Settings(nats="tls://host"), {"NATS_CA": certifi.where()}).options()
    assert isinstance(options["tls"], ssl.SSLContext)
    assert options["tls"].get_ca_certs()
    assert options["tls_handshake_first"] is False


def test_tls_first_needs_no_files(config: Path) -> None:
    options = resolve(Settings(), write_context(config, "x", tls_first=True)).options()
    assert options["tls_handshake_first"] is True
    assert isinstance(options["tls"], ssl.SSLContext)


@pytest.mark.parametrize("variable", ["NATS_CA", "NATS_CERT"])
def test_a_bad_certificate_names_its_file(tmp_path: Path, variable: str) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    target = resolve(Settings(nats="tls://host"), {variable: str(tmp_path / "bad.pem")})
    with pytest.raises(UsageError, match=r"tls://host: .*bad\.pem"):
        target.options()


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("localhost", ("nats://localhost",)),
        ("a:1, tls://b:2,", ("nats://a:1", "tls://b:2")),
        ("[::1]:4222", ("nats://[::1]:4222",)),
        ("wss://host/nats", ("wss://host/nats",)),
    ],
)
def test_addresses(url: str, servers: tuple[str, ...]) -> None:
    assert resolve(Settings(nats=url), {}).servers == servers


@pytest.mark.parametrize(
    "url",
    [
        f"http://{SECRET}@host",
        f"nats://me:{SECRET}@",
        f"nats://me:{SECRET}/x@host:port",
        f"nats://me:{SECRET},x@host",
        f"nats://:{SECRET}@host",
        f"nats://me:{SECRET}@host:99999",
        f"nats://me:{SECRET}@host name",
        f"nats://me:{SECRET}@a,wss://me:{SECRET}@b",
        f"nats://me:{SECRET}@a,nats://you:{SECRET}@b",
        ", ,",
    ],
)
def test_bad_addresses_are_named_without_their_secrets(url: str) -> None:
    for settings, environ, what in (
        (Settings(nats=url), {}, "--nats"),
        (Settings(), {"NATS_URL": url}, "NATS_URL"),
    ):
        with pytest.raises(UsageError, match=what) as raised:
            resolve(settings, environ)
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"NATS_CREDS": "/no/such.creds"}, r"^NATS_CREDS: /no/such\.creds: No such file"),
        ({"NATS_URL": "host", "NATS_NKEY": "/"}, r"^NATS_NKEY: /: Is a directory"),
        ({"NATS_URL": "host", "NATS_PASSWORD": SECRET}, r"^NATS_PASSWORD is set, but no user"),
        ({"NATS_URL": "host", "NATS_KEY": "/k"}, r"^NATS_KEY is set, but no cert"),
        ({"NATS_TOKEN": SECRET}, r"^NATS_TOKEN is set, but no server: set NATS_URL"),
    ],
)
def test_bad_variables_are_named(environ: dict[str, str], said: str, config: Path) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        resolve(Settings(), {"XDG_CONFIG_HOME": str(config.parent)} | environ)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"creds": "/no.creds"}, r'bad\.json: "creds": /no\.creds: No such file'),
        ({"url": "ftp://host"}, r'bad\.json: "url": ftp://host is not an address'),
        ({"token": [SECRET]}, r'bad\.json: "token" should be a string'),
        ({"tls_first": "yes"}, r'bad\.json: "tls_first" should be true or false'),
        ({"nsc": "nsc://a/b"}, r'bad\.json: agentd cannot use "nsc"; set NATS_URL'),
        ({"password": f"op://{SECRET}", "user": "me"}, r'the op: of "password"'),
        ({"user_jwt": SECRET}, r'bad\.json: "user_jwt" is set, but no user_seed'),
    ],
)
def test_bad_contexts_are_named(fields: dict[str, Any], said: str, config: Path) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        resolve(Settings(), write_context(config, "bad", **fields))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n "url": x}', r"bad\.json:2:9: "),
        ("[]", r"bad\.json: should be a JSON object"),
        (b"\xff\xfe\x00", r"bad\.json: not UTF-8"),
    ],
)
def test_contexts_that_are_not_json(text: str | bytes, said: str, config: Path) -> None:
    environ = write_context(config, "bad")
    content = text if isinstance(text, bytes) else text.encode()
    (config / "context" / "bad.json").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        resolve(Settings(), environ)


@pytest.mark.parametrize("name", ["prdo", "../context/prod", "/etc/passwd"])
def test_a_context_that_is_not_there(name: str, config: Path) -> None:
    environ = write_context(config, "prod") | {"NATS_CONTEXT": name}
    with pytest.raises(UsageError, match=r"^NATS_CONTEXT=.* no such nats context; .*prod"):
        resolve(Settings(), environ)
    (config / "context.txt").write_text(name)
    del environ["NATS_CONTEXT"]
    with pytest.raises(UsageError, match=r"context\.txt selects"):
        resolve(Settings(), environ)


@given(
    user=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1),
    password=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])),
)
def test_any_user_and_password_survive_the_url_and_never_show(user: str, password: str) -> None:
    user, password = f"<{user}>", f"<{password}>"
    target = resolve(Settings(nats=f"nats://{quote(user, '')}:{quote(password, '')}@host"), {})
    assert target.credentials == {"user": user, "password": password}
    assert target.label == "nats://host"
    assert target.options()["servers"] == ["nats://host"]
    assert user not in repr(target)


@given(st.text(string.printable + "é\x00\ud800"))
def test_any_address_is_a_target_or_a_usage_error(url: str) -> None:
    try:
        target = resolve(Settings(nats=url or "x"), {})
    except UsageError:
        return
    assert isinstance(target, Target)
    assert target.embedded or target.servers
