"""Which server agentd connects to, with which credentials, and how errors name them."""

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
    """Writes a context as the tool does: unused fields are empty."""
    unused = dict.fromkeys(["url", "token", "user", "password", "creds", "nkey", "ca", "nsc"], "")
    (config / "context" / f"{name}.json").write_text(json.dumps(unused | fields))
    return {"XDG_CONFIG_HOME": str(config.parent), "NATS_CONTEXT": name}


def test_without_settings_it_is_the_embedded_server(config: Path) -> None:
    target = resolve(Settings(), {"XDG_CONFIG_HOME": str(config.parent)})
    assert target.embedded
    assert target.label == "embedded nats-server (.agentd)"


def test_the_embedded_server_gets_its_address_when_it_runs() -> None:
    target = resolve(Settings(nats="embedded"), {}).at("nats://127.0.0.1:4711", SECRET)
    assert target.options() == {"servers": ["nats://127.0.0.1:4711"], "token": SECRET}
    assert SECRET not in repr(target)


def test_the_order_is_flag_variable_context_embedded(config: Path) -> None:
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


def test_the_fields_of_a_context_become_options(config: Path, tmp_path: Path) -> None:
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


def test_a_user_without_password_is_a_token_only_in_a_variable(config: Path) -> None:
    environ = {"NATS_URL": "host", "NATS_USER": SECRET}
    assert resolve(Settings(), environ).credentials == {"token": SECRET}
    environ = write_context(config, "x", user="me")
    assert resolve(Settings(), environ).credentials == {"user": "me", "password": ""}


def test_credentials_of_two_places_are_not_mixed(config: Path, tmp_path: Path) -> None:
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


def test_tls_first_works_without_files(config: Path) -> None:
    options = resolve(Settings(), write_context(config, "x", tls_first=True)).options()
    assert options["tls_handshake_first"] is True
    assert isinstance(options["tls"], ssl.SSLContext)


@pytest.mark.parametrize("variable", ["NATS_CA", "NATS_CERT"])
def test_the_error_names_a_bad_certificate(tmp_path: Path, variable: str) -> None:
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
def test_the_error_names_a_bad_address_without_its_secrets(url: str) -> None:
    for settings, environ, what in (
        (Settings(nats=url), {}, "--nats"),
        (Settings(), {"NATS_URL": url}, "NATS_URL"),
    ):
        with pytest.raises(UsageError, match=what) as raised:
            resolve(settings, environ)
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("environ", "error"),
    [
        ({"NATS_CREDS": "/no/such.creds"}, r"^NATS_CREDS: /no/such\.creds: No such file"),
        ({"NATS_URL": "host", "NATS_NKEY": "/"}, r"^NATS_NKEY: /: Is a directory"),
        ({"NATS_URL": "host", "NATS_PASSWORD": SECRET}, r"^NATS_PASSWORD is set, but no user"),
        ({"NATS_URL": "host", "NATS_KEY": "/k"}, r"^NATS_KEY is set, but no cert"),
        ({"NATS_TOKEN": SECRET}, r"^NATS_TOKEN is set, but no server: set NATS_URL"),
    ],
)
def test_the_error_names_a_bad_variable(environ: dict[str, str], error: str, config: Path) -> None:
    with pytest.raises(UsageError, match=error) as raised:
        resolve(Settings(), {"XDG_CONFIG_HOME": str(config.parent)} | environ)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"creds": "/no.creds"}, r'bad\.json: "creds": /no\.creds: No such file'),
        ({"url": "ftp://host"}, r'bad\.json: "url": ftp://host is not an address'),
        ({"user_jwt": SECRET}, r'bad\.json: "user_jwt" is set, but no user_seed'),
    ],
)
def test_the_error_names_a_bad_field_of_a_context(
    fields: dict[str, Any], error: str, config: Path
) -> None:
    with pytest.raises(UsageError, match=error) as raised:
        resolve(Settings(), write_context(config, "bad", **fields))
    assert SECRET not in str(raised.value)


@given(
    user=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1),
    password=st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])),
)
def test_any_user_and_password_in_a_url_are_used_and_not_shown(user: str, password: str) -> None:
    user, password = f"<{user}>", f"<{password}>"
    target = resolve(Settings(nats=f"nats://{quote(user, '')}:{quote(password, '')}@host"), {})
    assert target.credentials == {"user": user, "password": password}
    assert target.label == "nats://host"
    assert target.options()["servers"] == ["nats://host"]
    assert user not in repr(target)


@given(st.text(string.printable + "é\x00\ud800"))
def test_any_text_is_a_target_or_a_usage_error(url: str) -> None:
    try:
        target = resolve(Settings(nats=url or "x"), {})
    except UsageError:
        return
    assert isinstance(target, Target)
    assert target.embedded or target.servers
