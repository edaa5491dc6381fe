"""`agentd revisions`: the revisions on record, their files, and what changed between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.clock import clock
from agentd.cli.shared.console import Style, Styled, say, say_data, say_json, table
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.record.changes import Change
    from agentd.record.revisions import RecordedRevision

revisions = typer.Typer(
    name="revisions", help="List the revisions of agents, show their files, compare two of them."
)

_STYLES: dict[str, Style] = {"+": "green", "-": "red", "@": "dim"}

Revision = Annotated[
    str, typer.Argument(help="A revision, its beginning, or an agent for its newest revision.")
]


@revisions.command()
def ls(
    agent: Annotated[str | None, typer.Argument(help="Only those of this agent.")] = None,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """List the revisions that have been live, oldest first."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.protocol.subjects import token
        from agentd.record.changes import of_agent
        from agentd.routing import registry

        name = "*" if agent is None else token(agent, "agent")
        found = await of_agent(bus, subjects.env, name)
        online = await registry.online(bus, subjects.env)
        live = {(each.agent, each.revision) for each in online}
        if as_json:
            marked = [{**_json(e), "live": (e.agent, e.revision) in live} for e in found]
            say_json(marked, indent=2)
        elif found:
            _table(found, live)
        else:
            say(f"no revision{f' of {agent}' if agent else ''} is on record in {subjects.env!r}")
        return 0

    options.run(visit(work, env, nats))


options.list_without_command(revisions, ls)


@revisions.command()
def show(
    revision: Revision,
    file: Annotated[str | None, typer.Argument(help="Only this file, as it was.")] = None,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Show a revision with its files. Secrets stand there as `${VAR}`."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.errors import UsageError
        from agentd.record.changes import files_of, find

        found = await find(bus, subjects.env, revision)
        if file is not None and file not in found.files:
            have = ", ".join(sorted(found.files))
            raise UsageError(f"revision {found.revision} has no file {file}; it has {have}")
        files = await files_of(bus, subjects.env, found)
        texts = {path: _text(data) for path, data in files.items()}
        if as_json:
            say_json({**_json(found), "contents": texts}, indent=2)
        elif file is not None:
            say_data(texts[file] or "")
        else:
            _show(found, texts)
        return 0

    options.run(visit(work, env, nats))


@revisions.command()
def diff(
    a: Revision,
    b: Annotated[
        str | None,
        typer.Argument(help="The later revision; without it, A is compared with the one before."),
    ] = None,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Show what changed from revision A to revision B."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.record.changes import before, between, find

        first = await find(bus, subjects.env, a)
        if b is None:
            old, new = await before(bus, subjects.env, first), first
        else:
            old, new = first, await find(bus, subjects.env, b)
        found = await between(bus, subjects.env, old, new)
        if as_json:
            say_json({"a": _json(old), "b": _json(new), "files": list(map(_of, found))}, indent=2)
            return 0
        _heading(old, new)
        for change in found:
            _print(change)
        if not found:
            say("no file differs")
        return 0

    options.run(visit(work, env, nats))


def _table(found: list[RecordedRevision], live: set[tuple[str, str]]) -> None:
    rows = table("AGENT", "REVISION", "SINCE", "LIVE", "CHANGED", below=("CHANGED",))
    newest: dict[str, RecordedRevision] = {}
    for each in found:
        changed = _changed(newest.get(each.agent), each)
        now = "yes" if (each.agent, each.revision) in live else ""
        rows.add_row(each.agent, each.revision, clock(each.at), now, changed)
        newest[each.agent] = each
    rows.show()


def _changed(before: RecordedRevision | None, after: RecordedRevision) -> str:
    """The files that a revision does not share with the one before it."""
    if before is None:
        return ""
    paths = before.files.keys() | after.files.keys()
    return ", ".join(sorted(p for p in paths if before.files.get(p) != after.files.get(p)))


def _show(found: RecordedRevision, texts: dict[str, str | None]) -> None:
    say(f"{found.agent} {found.revision}, live since {clock(found.at)}, agentd {found.agentd}")
    for path, text in texts.items():
        say("")
        say(Styled(path, "bold"))
        say("(no longer on record)" if text is None else text.rstrip("\n"), lines=True)


def _heading(old: RecordedRevision, new: RecordedRevision) -> None:
    for each in (old, new):
        say(Styled(f"{each.agent} {each.revision}, live since {clock(each.at)}", "dim"))


def _print(change: Change) -> None:
    say("")
    say(Styled(f"{change.path} ({change.kind})", "bold"))
    if change.why:
        say(change.why)
    for line in change.lines[2:]:  # the first two repeat the path
        style = _STYLES.get(line[:1])
        say(Styled(line, style) if style else line)


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode(errors="replace")


def _json(revision: RecordedRevision) -> dict[str, Any]:
    from dataclasses import asdict
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(revision.at, UTC).isoformat(timespec="milliseconds")
    return {**asdict(revision), "at": at}


def _of(change: Change) -> dict[str, Any]:
    why = {"why": change.why} if change.why else {}
    return {"path": change.path, "kind": change.kind, "diff": list(change.lines), **why}
