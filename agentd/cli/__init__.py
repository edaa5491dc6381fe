"""The command: `agentd up`, `ask`, `ps` and the rest, each in a module of its own.

A module imports only from what stands below it.

    approvals  `agentd approvals`: tool calls that wait for a person, and what the person says
    ask        `agentd ask`: puts a question to an agent and prints the answer as it is made
    dlq        `agentd dlq`: the dead letters, to be looked at, sent again or dropped
    graph      `agentd graph`: the agents of a folder, and how work flows between them
    ps         `agentd ps`: every agent of the environment, in all its processes
    route      `agentd route`: who would take a message, and why the others would not; nothing is
               sent
    schedules  `agentd schedules`: what is to be sent later, and how to take it off
    send       `agentd send`: puts a message from a file or standard input on the bus
    stop       `agentd stop`: ends a conversation, or a task with all that followed, in every
               process
    tap        `agentd tap`: the messages of an environment as they pass
    test       `agentd test`: plays the cases that stand beside the manifests
    torture    `agentd torture`: kills, cuts off, floods and starves agentd, and counts what was
               lost
    up         `agentd up`: runs the agents of a folder until it is told to stop
    validate   `agentd validate`: says all that is wrong with the files of a folder
    ask_all    `agentd ask --all`: puts a question to every capable agent and prints what they say
    new        `agentd new`: writes the manifest and the prompt of a new agent
    schema     `agentd schema`: prints the JSON Schemas of manifests and messages
    shared     what the commands share: flags, tables, how an answer is shown
"""

from __future__ import annotations

import os
import sys

import typer

from agentd import __version__
from agentd.cli import (
    approvals,
    ask,
    dlq,
    graph,
    new,
    ps,
    route,
    schedules,
    schema,
    send,
    stop,
    tap,
    test,
    torture,
    up,
    validate,
)
from agentd.errors import AgentdError, StartError, UsageError

FAILED, BAD_FILES, NO_START = 1, 2, 3

app = typer.Typer(
    name="agentd",
    help="A declarative runtime for LLM agents on NATS: one YAML file per agent.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to import than all the rest
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS = (
    up.up,
    validate.validate,
    new.new,
    schema.schema,
    ask.ask,
    send.send,
    ps.ps,
    tap.tap,
    stop.stop,
    graph.graph,
    route.route,
    torture.torture,
)
for command in COMMANDS:
    app.command()(command)
app.command("test")(test.play)
app.add_typer(dlq.dlq)
app.add_typer(schedules.schedules)
app.add_typer(approvals.approvals)


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        typer.echo(f"agentd {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command; errors of agentd become one line and an exit code."""
    try:
        app()
    except UsageError as error:
        _end(error, BAD_FILES)
    except StartError as error:
        _end(error, NO_START)
    except AgentdError as error:
        _end(error, FAILED)
    except BrokenPipeError:
        # The reader of our output has left (`agentd tap | head`): nothing to say to anybody, nor
        # to flush at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def _end(error: AgentdError, code: int) -> None:
    typer.echo(f"agentd: {error}", err=True)
    sys.exit(code)
