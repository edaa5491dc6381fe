"""Makes revisions: looks at an agent's tools, and opens them and its models."""

from __future__ import annotations

from collections.abc import Sequence

from agentd.catalog.spec import AgentSpec
from agentd.errors import AgentdError, ModelError
from agentd.manifest.agent import ModelRef
from agentd.models.choose import AgentRate, Models
from agentd.models.failover import FailoverModel
from agentd.models.port import Model
from agentd.problems import Problem, errors
from agentd.run.revision import Revision
from agentd.settings import Settings
from agentd.tools.open import Tools


class CannotRun(AgentdError):
    """An agent cannot run as its files have it; `problems` say why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(problem.render() for problem in problems))
        self.problems = list(problems)


class Revisions:
    """Makes the revisions of one process's agents."""

    def __init__(self, models: Models, tools: Tools, settings: Settings) -> None:
        self._models = models
        self._tools = tools
        self._settings = settings

    async def make(self, spec: AgentSpec) -> Revision:
        """The revision of `spec`; nothing is connected yet.

        Raises:
            CannotRun: its functions have mistakes, or a model cannot be opened.
        """
        mistakes = errors(await self._tools.check(spec))
        if mistakes:
            raise CannotRun(mistakes)
        try:
            models = self._models.open_all(self._refs(spec), self._rate(spec))
            summarizer = self._summarizer(spec)
        except ModelError as error:
            raise CannotRun([self._problem(spec, error)]) from error
        return Revision(
            spec,
            models,
            self._tools.open(spec),
            summarizer=summarizer,
            blind=frozenset(m.name for m in models if self._models.takes_images(m.name) is False),
        )

    def _refs(self, spec: AgentSpec) -> tuple[ModelRef, ...]:
        return spec.manifest.model or (ModelRef.of_setting(self._settings.model),)

    def _rate(self, spec: AgentSpec) -> AgentRate | None:
        rate = spec.manifest.limits.rate
        return AgentRate(f"{self._settings.env}.{spec.name}", rate) if rate else None

    def _summarizer(self, spec: AgentSpec) -> Model | None:
        history = spec.manifest.history
        if history is None or history.model is None:
            return None
        return FailoverModel([self._models.open(history.model)])

    def _problem(self, spec: AgentSpec, error: ModelError) -> Problem:
        """Which of an agent's models cannot be opened."""
        history = spec.manifest.history
        summarizer = history.model if history else None
        if summarizer and self._models.check(summarizer):
            return spec.problem("history", "model", text=str(error))
        return spec.problem("model", 0, text=str(error))
