"""`agentd audit`: verifies the log against its tree, exports proofs, cosigns checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentd.cli.shared import options
from agentd.cli.shared.console import say, say_data, say_json
from agentd.cli.shared.visit import visit

if TYPE_CHECKING:
    from agentd.nats.bus import Bus
    from agentd.protocol.subjects import Subjects
    from agentd.record.audit.log_reader import Entry
    from agentd.record.audit.verifier.judge import Report
    from agentd.record.audit.verifier.note import Checkpoint, Key

audit = typer.Typer(
    name="audit", help="Verify the log, export proofs, cosign checkpoints.", no_args_is_help=True
)

Keys = Annotated[
    list[str] | None,
    typer.Option("--key", help="The public key that you were given; repeatable."),
]
_FILE = "An export to verify, without a server."
_CHECKPOINT = "A checkpoint that you kept: the log must still contain it; repeatable."
_WITNESS = "The public key of a witness that must have seen this log; repeatable."


@audit.command()
def verify(
    file: Annotated[Path | None, typer.Argument(help=_FILE)] = None,
    key: Keys = None,
    checkpoint: Annotated[list[Path] | None, typer.Option("--checkpoint", help=_CHECKPOINT)] = None,
    witness: Annotated[list[str] | None, typer.Option("--witness", help=_WITNESS)] = None,
    part: Annotated[
        bool, typer.Option("--part", help="The export has a part of the messages.")
    ] = False,
    as_json: options.Json = False,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Compare the log with its tree; exit with 1 if something is wrong.

    It finds messages that were changed, removed, inserted or reordered, and names the first one.
    """
    keys = _keys(key)
    if file is not None:
        raise typer.Exit(_verify_file(file, keys, part=part, as_json=as_json))
    known = keys, _keys(witness), [_checkpoint(each) for each in checkpoint or ()]

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.record.audit.verify import Known, verify

        return _show(await verify(bus, subjects.env, Known(*known)), as_json)

    options.run(visit(work, env, nats))


@audit.command()
def export(
    file: Annotated[Path, typer.Argument(help="The file to write; `-` is standard output.")],
    only: Annotated[
        str | None, typer.Option("--only", help="Messages on this pattern: result.research.*")
    ] = None,
    conversation: Annotated[
        str | None, typer.Option("--conversation", help="Messages of this conversation.")
    ] = None,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Write messages with their proofs, one JSON object a line.

    With --only or --conversation the file has a part of the messages.
    """

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.record.audit.export import exported

        wanted = _wanted(subjects, only, conversation)
        if str(file) == "-":
            async for line in exported(bus, subjects.env, wanted):
                say_data(line, end="\n")
            return 0
        lines = 0
        with _opened(file) as output:
            async for line in exported(bus, subjects.env, wanted):
                output.write(line + "\n")
                lines += 1
        say(f"{file}: {lines - 1} leaves; verify it with: agentd audit verify {file} --key KEY")
        return 0

    options.run(visit(work, env, nats))


@audit.command()
def checkpoint(env: options.Env = None, nats: options.Nats = None) -> None:
    """Print the newest checkpoint, to be kept elsewhere."""

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.record.audit import witness

        say_data(await witness.newest_note(bus, subjects.env))
        return 0

    options.run(visit(work, env, nats))


@audit.command()
def key(
    new: Annotated[
        Path | None, typer.Option("--new", help="Make a private key in this new file.")
    ] = None,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Print the public key that verifies the checkpoints."""
    from agentd.record.audit import keys
    from agentd.settings import from_environment

    settings = from_environment(env=env, nats=nats)
    if new is not None:
        made = keys.Signer.new(keys.log_name(settings.env))
        keys.write_file(new, made)
        say_data(str(made.public), end="\n")
        say(f"{new} has the private key: set AGENTD_AUDIT_KEY={new} for agentd up", err=True)
        return
    if settings.audit_key:
        say_data(str(keys.read_file(Path(settings.audit_key)).public), end="\n")
        return

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.record.audit import witness

        say_data(await witness.public_key(bus, subjects.env), end="\n")
        return 0

    options.run(visit(work, env, nats))


@audit.command()
def witness(
    key: Annotated[
        str | None, typer.Option("--key", help="The public key of the log [the first one seen].")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="The name of a new witness.")
    ] = "agentd/witness",
    file: Annotated[
        Path | None, typer.Option("--file", help="What the witness remembers [.agentd].")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", help="Repeat it: 60s, 10m [once].")
    ] = None,
    env: options.Env = None,
    nats: options.Nats = None,
) -> None:
    """Check that the tree goes on from the one seen last, and cosign its newest checkpoint."""
    from agentd.record.audit.witness import WitnessFile
    from agentd.settings import from_environment

    remembered = WitnessFile(file or from_environment().state / "witness.json", name)
    trusted = _keys([key])[0] if key else None
    pause = options.duration("--every", every)

    async def work(bus: Bus, subjects: Subjects) -> int:
        from agentd.record.audit.witness import watch

        async for seen in watch(bus, subjects.env, remembered, trusted, pause):
            say(f"cosigned {seen.size} leaves of {seen.origin}")
        return 0

    say(f"public key of the witness: {remembered.public()}")
    options.run(visit(work, env, nats))


@audit.command()
def verifier(
    file: Annotated[Path, typer.Argument(help="The program to write: agentd-verify.pyz")],
) -> None:
    """Write the verifier as one program, which needs Python and nothing else."""
    from agentd.record.audit.program import write

    write(file)
    say(f"verify an export with: python {file} EXPORT --key KEY")


def _verify_file(file: Path, keys: Sequence[Key], *, part: bool, as_json: bool) -> int:
    from agentd.errors import UsageError
    from agentd.record.audit.keys import verify
    from agentd.record.audit.verifier.export import check

    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as lines:
            return _show(check(lines, keys, part=part, verify=verify), as_json)
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _show(report: Report, as_json: bool) -> int:
    from agentd.record.audit.verifier.judge import show

    if as_json:
        say_json(_as_json(report), indent=2)
    else:
        show(report, say)
    return 1 if report.findings else 0


def _as_json(report: Report) -> dict[str, Any]:
    findings = [{"sequence": each.sequence or None, "text": each.text} for each in report.findings]
    return {**vars(report), "findings": findings}


def _keys(texts: Sequence[str] | None) -> list[Key]:
    from agentd.errors import UsageError
    from agentd.record.audit.verifier.note import Key

    try:
        return [Key.parse(text) for text in texts or ()]
    except ValueError as error:
        raise UsageError(f"{error}; `agentd audit key` prints one") from None


def _checkpoint(file: Path) -> Checkpoint:
    from agentd.errors import UsageError
    from agentd.record.audit.verifier.note import Checkpoint

    try:
        return Checkpoint.parse(options.read(file).decode())
    except ValueError as error:
        raise UsageError(f"{file}: {error}") from None


def _opened(file: Path) -> Any:
    from agentd.errors import UsageError

    try:
        return file.open("w")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def _wanted(subjects: Subjects, only: str | None, conversation: str | None) -> Any:
    """Which messages are exported; None for all."""
    from agentd.protocol.subjects import matches

    if only is None and conversation is None:
        return None
    pattern = subjects.pattern(subjects.relative(only)) if only else subjects.everything

    def wanted(entry: Entry) -> bool:
        subject = entry.subject.decode(errors="replace")
        return matches(pattern, subject) and conversation in (None, _conversation(entry))

    return wanted


def _conversation(entry: Entry) -> str:
    from agentd.errors import DecodeError
    from agentd.protocol.message import decode

    try:
        return decode(entry.data).context.conversation_id
    except DecodeError:
        return ""
