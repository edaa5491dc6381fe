"""Builds revisions: checks an agent's models and tools, and opens them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agentd.catalog.spec import AgentSpec
from agentd.errors import AgentdError
from agentd.manifest.agent import ModelRef
from agentd.manifest.model import MOCK_MODELS
from agentd.models.choose import AgentRate, Models
from agentd.models.failover import FailoverModel
from agentd.models.port import Model
from agentd.models.unavailable import NO_MODEL
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

    async def check(self, spec: AgentSpec, *, keys: bool = True) -> list[Problem]:
        """The problems of an agent that loads; with errors it cannot run.

        Without `keys`, a missing key is only a warning.
        """
        return [*await self._tools.check(spec), *self._of_models(spec, keys)]

    async def build(self, spec: AgentSpec) -> Revision:
        """The revision of an agent as its files describe it. Nothing is connected yet.

        Raises:
            CannotRun: `check` finds errors.
        """
        if problems := errors(await self.check(spec)):
            raise CannotRun(problems)
        if spec.manifest.call:
            return Revision(spec, (NO_MODEL,), self._tools.open(spec))
        models = self._models.open_all(self._refs(spec), self._rate(spec))
        return Revision(
            spec,
            models,
            self._tools.open(spec),
            summarizer=self._summarizer(spec),
            # A model of which it is not known (None) is sent images: its provider decides.
            blind=frozenset(m.name for m in models if self._models.takes_images(m.name) is False),
        )

    def _of_models(self, spec: AgentSpec, keys: bool) -> Iterator[Problem]:
        refs = () if spec.manifest.call else self._refs(spec)
        found = [self._models.problems(ref) for ref in refs]
        # Without its key a model is skipped, and the next one of the list is called.
        usable = any(not problems for problems in found)
        for index, (ref, problems) in enumerate(zip(refs, found, strict=True)):
            needed = keys and not usable
            yield from _at(spec, ("model", index), ref, problems, needed=needed)
        if spec.manifest.history and (summarizer := spec.manifest.history.model):
            problems = self._models.problems(summarizer)
            yield from _at(spec, ("history", "model"), summarizer, problems, needed=keys)

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


def _at(
    spec: AgentSpec,
    loc: tuple[str | int, ...],
    ref: ModelRef,
    problems: Iterable[tuple[str, str]],
    *,
    needed: bool,
) -> Iterator[Problem]:
    """The problems of a model at `loc`; a missing key is an error if it is `needed`."""
    place = (*loc, "script" if ref.name in MOCK_MODELS else "name")
    # An agent without a `model` has that of the process.
    source = "" if spec.manifest.model or loc[0] != "model" else f"AGENTD_MODEL={ref.name}: "
    for code, text in problems:
        optional = code == "model_auth" and not needed
        yield spec.problem(
            *place,
            text=source + text,
            hint="set the variable, or `api_key`" if code == "model_auth" else "",
            severity="warning" if optional else "error",
        )
