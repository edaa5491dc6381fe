"""The command `agentd`: one module per subcommand.

A module imports only from modules listed below it. It imports typer at the top and everything heavy
inside the functions that need it: nats-py, pydantic and aiohttp would make `agentd --help` take
seconds instead of 0.2 s.

    approvals  `agentd approvals`: lists tool calls that wait for approval; approves or denies them
    ask        `agentd ask`: sends a task and prints the answer as it arrives
    dlq        `agentd dlq`: lists dead letters, shows one, sends them again, drops them
    graph      `agentd graph`: draws the agents of a folder, and how work flows between them
    keys       `agentd keys`: makes, lists and revokes the keys for HTTP
    ps         `agentd ps`: lists the agents online, summed up over their replicas
    route      `agentd route`: explains which agents would take a message; sends nothing
    schedules  `agentd schedules`: lists and removes schedules
    send       `agentd send`: sends a message from a file or standard input
    stop       `agentd stop`: cancels a conversation, or a task and all that followed from it
    tap        `agentd tap`: prints the messages of an environment as they are published
    test       `agentd test`: runs the test cases of agents
    torture    `agentd torture`: runs the torture suite, and counts what was lost
    trigger    `agentd trigger`: tries a trigger, and shows the task that it starts
    up         `agentd up`: runs the agents of a folder until a signal stops it
    validate   `agentd validate`: reports every problem in the files of a folder
    ask_all    `agentd ask --all`: sends a task to every capable agent and prints their answers
    new        `agentd new`: writes the manifest, the prompt and a test of a new agent
    schema     `agentd schema`: prints the JSON Schema of manifests or of messages
    record     the commands that read the record back
    shared     what several commands share: flags, connecting, tables, printing an answer
"""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from typing import Any

import typer

from agentd import __version__
from agentd.cli import (
    approvals,
    ask,
    dlq,
    graph,
    keys,
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
    trigger,
    up,
    validate,
)
from agentd.cli.record import audit, cost, forget, log, result, revisions, trace
from agentd.cli.shared.console import Said, SaidWarnings, say
from agentd.errors import AgentdError, StartError, UsageError

FAILED, BAD_FILES, NO_START = 1, 2, 3

app = typer.Typer(
    name="agentd",
    help="A declarative runtime for LLM agents on NATS: one YAML file per agent.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich takes longer than the rest of `agentd --help`
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
    log.log,
    result.result,
    cost.cost,
    stop.stop,
    trace.trace,
    forget.forget,
    graph.graph,
    route.route,
    trigger.trigger,
    torture.torture,
)
for command in COMMANDS:
    app.command()(command)
app.command("test")(test.play)
app.add_typer(dlq.dlq)
app.add_typer(schedules.schedules)
app.add_typer(approvals.approvals)
app.add_typer(keys.keys)
app.add_typer(revisions.revisions)
app.add_typer(audit.audit)


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        say(f"agentd {__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command. An error of agentd becomes one line on standard error and an exit code."""
    # A terminal that cannot show a character shows its code instead of a traceback.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # None if the process was started without one
            stream.reconfigure(errors="backslashreplace")
    warnings = SaidWarnings()
    logging.getLogger().addHandler(warnings)  # until `up` writes a log
    try:
        sys.exit(app(standalone_mode=False))
    except _Mistyped as error:
        error.show(Said())  # which may repeat what was typed
        sys.exit(error.exit_code)
    except typer.Abort:
        _end(AgentdError("interrupted"), FAILED)
    except UsageError as error:
        _end(error, BAD_FILES)
    except StartError as error:
        _end(error, NO_START)
    except AgentdError as error:
        _end(error, FAILED)
    except BrokenPipeError:
        # The reader of our output has ended (`agentd tap | head`). Python would fail a second time
        # when it flushes standard output at exit, so that goes to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    finally:
        logging.getLogger().removeHandler(warnings)


# What typer raises for a mistake on the command line. Its module depends on the version of typer.
_Mistyped: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def _end(error: AgentdError, code: int) -> None:
    say(f"agentd: {error}", err=True, lines=True)
    sys.exit(code)
