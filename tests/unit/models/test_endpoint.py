"""An endpoint hides its secrets, notices a forgotten `/v1`, and takes only proxies that it can use.

Requests are tested with a real server in tests/integration/test_openai_http.py.
"""

from __future__ import annotations

import pytest

from agentd.errors import ModelError
from agentd.models.endpoint import Endpoint, Http

KEY = "sk-aVerySecretKey123"


def endpoint(base: str, key: str | None = None) -> Endpoint:
    return Endpoint(Http(), base, key)


def test_the_key_and_the_password_of_the_address_are_secrets() -> None:
    assert endpoint("http://localhost/v1").secrets == ()
    assert endpoint("http://localhost/v1", KEY).secrets == (KEY,)
    assert endpoint("http://me:pass@localhost/v1", KEY).secrets == (KEY, "pass")


def test_the_key_is_not_printed() -> None:
    assert KEY not in repr(endpoint("http://localhost/v1", KEY))


def test_a_proxy_that_is_not_http_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://proxy:1080")
    with pytest.raises(
        ModelError, match=r"https_proxy is not an http:// or https:// one"
    ) as caught:
        endpoint("https://api.example.org/v1")
    assert caught.value.code == "model_config"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "inside.example.org:8443"])
def test_this_machine_and_the_hosts_of_no_proxy_need_no_proxy(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "socks5://proxy:1080")
    monkeypatch.setenv("no_proxy", "inside.example.org")
    endpoint(f"https://{host}/v1")


async def test_all_requests_share_a_session_until_it_is_closed() -> None:
    http = Http()
    await http.close()  # without a session, nothing happens
    session = http.session()
    assert http.session() is session
    await http.close()
    assert session.closed
    assert http.session() is not session
    await http.close()
