"""`agentd` with a bug: the agent with the name `crashing` cannot pull its tasks.

python -m bench.crashing up manifests
"""

from __future__ import annotations

from agentd import cli
from agentd.agent.agent import Agent

NAME = "crashing"


def main() -> None:
    """Adds the bug and runs the command."""
    pull = Agent._pull_while_open  # pyright: ignore[reportPrivateUsage]

    async def pull_or_crash(agent: Agent) -> None:
        if agent.name == NAME:
            raise ZeroDivisionError("a bug of the benchmark")
        await pull(agent)

    setattr(Agent, "_pull_while_open", pull_or_crash)  # noqa: B010 (it is private)
    cli.main()


if __name__ == "__main__":
    main()
