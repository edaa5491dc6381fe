"""Builds revisions: checks an agent's tools, and opens its models and tools."""

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
    """The files of an agent load, but it cannot run; `problems` say why."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(problem.render() for problem in problems))
        self.problems = list(problems)


class RevisionBuilder:
    """Builds the revisions of the agents of one process."""

    def __init__(self, models: Models, tools: Tools, settings: Settings) -> None:
        self._models = models
        self._tools = tools
        self._settings = settings

    async def build(self, spec: AgentSpec) -> Revision:
        """The revision of an agent as its files describe it. Nothing is connected yet.

        Raises:
            CannotRun: a tool has errors, or a model cannot be opened.
        """
        problems = errors(await self._tools.check(spec))
        if problems:
            raise CannotRun(problems)
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
            # A model of which it is not known (None) is sent images: its provider decides.
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
        """The problem of a model that cannot be opened, at its place in the manifest."""
        history = spec.manifest.history
        summarizer = history.model if history else None
        if summarizer and self._models.check(summarizer):
            return spec.problem("history", "model", text=str(error))
        return spec.problem("model", 0, text=str(error))
