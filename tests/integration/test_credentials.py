"""Contexts of the nats command line with nkeys and creds files, on a server that requires them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path

import nkeys
import pytest

from agentd.errors import StartError
from agentd.nats.bus import Bus
from agentd.nats.connection import resolve
from agentd.settings import Settings
from tests.nats_servers import server
from tests.waiting import PATIENCE, until


def seed(kind: int) -> bytes:
    return nkeys.encode_seed(os.urandom(32), kind)


def public(key: bytes) -> str:
    return bytes(nkeys.from_seed(key).public_key).decode()  # pyright: ignore[reportArgumentType]


def jwt(claims: dict[str, object], signer: bytes) -> str:
    """A token as NATS has it: `ed25519-nkey`."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).decode().rstrip("=")

    head = part(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    body = f"{head}.{part(json.dumps(claims).encode())}"
    return f"{body}.{part(nkeys.from_seed(signer).sign(body.encode()))}"


def context(folder: Path, url: str, **fields: str) -> dict[str, str]:
    """The environment in which this context of the nats command line is selected."""
    contexts = folder / "nats" / "context"
    contexts.mkdir(parents=True)
    (contexts / "guarded.json").write_text(json.dumps({"url": url, **fields}))
    return {"XDG_CONFIG_HOME": str(folder), "HOME": str(folder), "NATS_CONTEXT": "guarded"}


async def can_connect(environ: dict[str, str]) -> bool:
    bus = await Bus.connect(resolve(Settings(), environ).options(), timeout=5)
    try:
        await bus.fence()
        return bus.connected
    finally:
        await bus.close()


async def test_the_nkey_of_a_context_is_accepted(tmp_path: Path) -> None:
    key = seed(nkeys.PREFIX_BYTE_USER)
    (tmp_path / "user.nk").write_bytes(key)
    config = f"authorization {{ users: [{{nkey: {public(key)}}}] }}"
    with server(tmp_path, config) as url:
        assert await can_connect(context(tmp_path, url, nkey=str(tmp_path / "user.nk")))


async def test_another_nkey_is_refused(tmp_path: Path) -> None:
    (tmp_path / "user.nk").write_bytes(seed(nkeys.PREFIX_BYTE_USER))
    allowed = public(seed(nkeys.PREFIX_BYTE_USER))
    with server(tmp_path, f"authorization {{ users: [{{nkey: {allowed}}}] }}") as url:
        environ = context(tmp_path, url, nkey=str(tmp_path / "user.nk"))
        with pytest.raises(StartError):
            await Bus.connect(resolve(Settings(), environ).options(), timeout=0.5)


async def test_the_creds_file_of_a_context_is_accepted(tmp_path: Path) -> None:
    operator, account, user = (
        seed(kind)
        for kind in (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    )

    def claims(subject: bytes, issuer: bytes, kind: str) -> str:
        unlimited = {"subs": -1, "data": -1, "payload": -1}
        limits = {**unlimited, "conn": -1, "leaf": -1, "wildcards": True}
        of = {"type": kind, "version": 2, **unlimited, "limits": limits}
        names = {"jti": kind, "iat": 1, "name": kind}
        about = {"iss": public(issuer), "sub": public(subject), "nats": of}
        return jwt({**names, **about}, issuer)

    config = (
        f"operator: {claims(operator, operator, 'operator')}\nresolver: MEMORY\n"
        f"resolver_preload {{ {public(account)}: {claims(account, operator, 'account')} }}\n"
    )
    creds = (
        f"-----BEGIN NATS USER JWT-----\n{claims(user, account, 'user')}\n"
        "------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n"
        f"{user.decode()}\n------END USER NKEY SEED------\n"
    )
    (tmp_path / "user.creds").write_text(creds)
    with server(tmp_path, config) as url:
        assert await can_connect(context(tmp_path, url, creds=str(tmp_path / "user.creds")))


async def test_an_nkey_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    old, new = seed(nkeys.PREFIX_BYTE_USER), seed(nkeys.PREFIX_BYTE_USER)
    file = tmp_path / "user.nk"

    def users(key: bytes) -> str:
        return f"authorization {{ users: [{{nkey: {public(key)}}}] }}\n"

    file.write_bytes(old)
    with server(tmp_path, users(old)) as url:
        environ = context(tmp_path, url, nkey=str(file))
        bus = await Bus.connect(resolve(Settings(), environ).options(), timeout=10)
    await until(lambda: not bus.connected)
    file.write_bytes(b"half")
    with server(tmp_path, users(new), port=int(url.rpartition(":")[2])):
        await asyncio.sleep(0.5)  # at least one attempt with the file that is half written
        file.write_bytes(new)
        await bus.until_connected(asyncio.get_running_loop().time() + PATIENCE)
        await bus.close()
