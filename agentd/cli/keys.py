"""`agentd keys`: makes, lists and revokes the keys for HTTP."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import say, say_data, say_json, table

if TYPE_CHECKING:
    from agentd.doors.key_file import Key, KeyFile
    from agentd.settings import Settings

keys = typer.Typer(name="keys", help="Make, list or revoke keys for HTTP.")

_LONGEST = 3653 * 86400.0  # seconds: ten years


@keys.command()
def add(
    name: Annotated[
        str, typer.Argument(help="Who the key is for; decisions are recorded with it.")
    ],
    may: Annotated[str, typer.Option("--may", help="What it allows: ask, read, approve, operate.")],
    agents: Annotated[
        str | None, typer.Option("--agents", help="The agents that it is for: a,b [all].")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="How long it is valid: 12h, 90d [no end].")
    ] = None,
) -> None:
    """Make a key and print it: it is shown once."""
    from agentd.nats.folder import NatsFolder

    settings, seconds = _settings(), options.duration("--expires", expires, longest=_LONGEST)
    if not settings.keys:
        NatsFolder(settings.state).make()  # private, and ignored by git
    file = _file(settings)
    secret = file.add(
        name,
        _items(may),
        agents=None if agents is None else _items(agents),
        expires=None if seconds is None else time.time() + seconds,
    )
    say_data(secret, end="\n")
    say(f"this is the only time that the key is shown; {file.path} holds its digest", err=True)


@keys.command()
def ls(as_json: options.Json = False) -> None:
    """List the keys and what they allow."""
    file = _file(_settings())
    found = file.read()
    if as_json:
        say_json([_as_json(key) for key in found], indent=2)
        return
    if not found:
        none = f"no key in {file.path}" if file.path.exists() else f"no file {file.path}"
        say(f"{none}; make a key with: agentd keys add NAME --may ask,read")
        return
    rows = table("KEY", "MAY", "AGENTS", "MADE", "EXPIRES")
    for key in found:
        agents = "all" if key.agents is None else ", ".join(sorted(key.agents))
        expires = "never" if key.expires is None else clock(key.expires)
        expires += " (expired)" if key.is_expired else ""
        rows.add_row(key.name, ", ".join(sorted(key.may)), agents, clock(key.created), expires)
    rows.show()


@keys.command()
def revoke(name: Annotated[str, typer.Argument(help="The name of the key.")]) -> None:
    """Revoke a key: it is refused from now on."""
    _file(_settings()).revoke(name)
    say(f"{name} revoked")


@keys.callback(invoke_without_command=True)
def _bare(  # pyright: ignore[reportUnusedFunction]
    context: typer.Context, as_json: options.Json = False
) -> None:
    if context.invoked_subcommand is None:
        ls(as_json=as_json)
    elif as_json:
        raise typer.BadParameter(f"write --json after `{context.invoked_subcommand}`")


def _settings() -> Settings:
    from agentd.settings import from_environment

    return from_environment()


def _file(settings: Settings) -> KeyFile:
    from agentd.doors.key_file import KeyFile

    return KeyFile(settings.key_file)


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _as_json(key: Key) -> dict[str, Any]:
    """All that is known of a key, but its digest."""
    from agentd.doors.key_file import as_json

    return {name: value for name, value in as_json(key).items() if name != "sha256"}
