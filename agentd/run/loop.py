"""One run of an agent: model, tools, model …, from an admitted message to an answer.

Every turn that calls tools, and every tool answer, is recorded in the journal before the next step.
An interrupted run resumes from the journal: a recorded step is neither paid nor done twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from agentd import crash_points
from agentd.errors import ModelError, TaskError, Undeliverable
from agentd.manifest.limits import Output
from agentd.models.estimate import expected, within
from agentd.models.failures import Failures
from agentd.models.meaning import is_too_long
from agentd.models.port import CUT_IN_WORDS, ChatRequest, Completion, Model, ToolCall, Usage
from agentd.models.wire.chat import assistant_turn, tool_turn
from agentd.protocol.message import AgentMessage
from agentd.queue.journal import TURN
from agentd.routing.accepts import require_accepted
from agentd.run import direct_call, model_call
from agentd.run.context import Reader, RunContext
from agentd.run.conversation import Opening, begin, compacted
from agentd.run.output import Unusable, correction, required_output, value_of
from agentd.run.revision import Revision
from agentd.run.sender import SendersTools, senders_parameters
from agentd.run.tool_calls import TurnCalls, with_unique_ids
from agentd.telemetry import active
from agentd.tools.port import Emitted

_A_CALL = Usage(1_000, 1_000)  # of any model; what it costs says whether calls cost anything


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The answer of a run.

    Attributes:
        data: the answer: a value that fits `output.schema`, or text if there is no schema.
        completion: the last completion, with the usage and the cost of all turns.
        given_back: the calls of the sender's tools that the answer consists of.
        turns: the number of turns.
        calls: the number of tool calls.
        emitted: the messages that tool calls asked for, in order.
        asked: the user turn as text.
    """

    data: Any
    completion: Completion
    given_back: tuple[ToolCall, ...] = ()
    turns: int = 1
    calls: int = 0
    emitted: tuple[Emitted, ...] = ()
    asked: str = ""


async def run(revision: Revision, message: AgentMessage, context: RunContext) -> RunResult:
    """Answers `message`, within its deadline and its budget.

    Raises:
        PromptError: the prompt cannot be rendered for this message.
        ModelError: the model gave no usable answer.
        TaskError: the agent does not accept the content (`invalid_input`), the answer does not fit
            `output.schema` (`output_invalid`), the sender brings tools or a schema that the
            manifest does not allow (`client_tools`, `answer_schema`), or the task has an image or
            a file that cannot be shown to a model (`bad_part` and the like).
        Undeliverable: no time (`expired`), turns (`turns`), money or tokens (`budget`) are left.
        BusError: the budget, the journal, the memory or a file is out of reach.
    """
    if active.tracer is None:
        return await _run(revision, message, context)
    spec = revision.spec
    with active.tracer.agent(
        spec.name,
        message,
        revision=spec.revision,
        model=revision.model.name,
        description=spec.manifest.description,
    ) as span:
        result = await _run(revision, message, context)
        span.answered(result.data, result.completion)
        return result


async def _run(revision: Revision, message: AgentMessage, context: RunContext) -> RunResult:
    accepts = revision.spec.manifest.accepts
    if accepts is not None and not context.steps:  # a run that resumes was admitted before
        await require_accepted(revision.spec.name, accepts, message.payload.content)
    if revision.spec.manifest.call is not None:
        return await _called(revision, message, context)
    return await _TurnLoop(revision, message, context).result()


async def _called(revision: Revision, message: AgentMessage, context: RunContext) -> RunResult:
    """The result of an agent that calls a tool in place of a model."""
    text = await direct_call.answer(revision, message, context)
    return RunResult(
        data=None if text is None else direct_call.value_of(text),
        completion=direct_call.completion_of(text or ""),
        turns=0,
        calls=0 if text is None else 1,
    )


class _TurnLoop:
    def __init__(self, revision: Revision, message: AgentMessage, context: RunContext) -> None:
        self._revision = revision
        self._manifest = revision.spec.manifest
        self._message = message
        self._context = context
        self._model = revision.model_for(message)
        self._opening = Opening({}, None, {}, "")
        self._output: Output | None = None
        self._senders: SendersTools | None = None
        self._chat: list[Mapping[str, Any]] = []  # after the opening
        if message.brings_tools:
            self._senders = SendersTools.of(self._manifest, message)
            self._chat += self._senders.turns
        self._parameters = dict(self._manifest.parameters)
        if message.payload.parameters:
            self._parameters |= senders_parameters(message.payload)
        self._completions: list[Completion] = []
        self._aside: list[Completion] = []
        self._called = 0
        self._emitted: list[Emitted] = []
        self._corrections = 0

    @cached_property
    def _calls(self) -> TurnCalls:
        """Made by the first turn that calls tools."""
        return TurnCalls(self._revision, self._message, self._context)

    async def result(self) -> RunResult:
        """Takes turns until there is an answer."""
        if self._manifest.output or self._message.payload.answer_schema is not None:
            self._output = await required_output(self._manifest, self._message)
        self._opening = await begin(
            self._revision, self._model, self._message, self._context, ask=self._ask_aside
        )
        if self._opening.user["content"] is self._message.payload.content:
            self._context.calls.elsewhere(self._opening.user, task=True)
        if self._senders:
            self._senders.require_own_names(self._revision.toolbox.tools)
        most = self._manifest.limits.turns
        for turn in range(1, most + 1):
            completion = await self._turn(turn)
            if self._senders and (given_back := self._senders.called_in(completion)):
                return self._with(given_back.text, given_back=given_back.tool_calls)
            if not completion.tool_calls:
                try:
                    return await self._result(completion)
                except Unusable as error:
                    await self._correct(turn, completion, error)
            elif turn < most:
                await self._use_tools(turn, completion)
        raise Undeliverable(f"limits.turns is {most}, and there is no answer yet", code="turns")

    async def _turn(self, turn: int) -> Completion:
        """The completion of this turn, from the journal if the run is resumed."""
        self._context.calls.turn = turn
        recorded = self._context.steps.get((TURN, turn, 0))
        completion = model_call.from_journal(recorded["completion"]) if recorded else None
        if completion is not None:
            self._context.spending.recorded(completion)
            self._next_turn()
        else:
            completion = await self._ask()
            crash_points.here("after-turn")
            if completion.tool_calls:
                completion = self._with_unique_ids(turn, completion)
                await self._keep(turn, completion)
        self._completions.append(completion)
        return completion

    def _with_unique_ids(self, turn: int, completion: Completion) -> Completion:
        """The completion with ids that no other call of this run has."""
        taken = {call.id for each in self._completions for call in each.tool_calls}
        taken |= self._senders.taken if self._senders else set()
        calls = with_unique_ids(completion.tool_calls, turn=turn, taken=taken)
        return replace(completion, tool_calls=calls)

    async def _ask(self) -> Completion:
        """The model's next completion. A past that does not fit its context is compacted."""
        output = self._output
        # After an answer that may have to be corrected, another call may follow.
        last = output is None or self._corrections >= output.retries
        fits = False
        while True:
            request = self._within_tokens(self._request())
            try:
                completion = await self._paid(self._model, request, self._context.reader, last=last)
            except ModelError as error:
                if not is_too_long(str(error)) or not await self._compact():
                    raise
                fits = True
            else:
                self._note_size(request, completion, fits=fits)
                return completion

    def _request(self) -> ChatRequest:
        toolbox = self._revision.toolbox
        tools = toolbox.schemas if toolbox.entries else ()
        return ChatRequest(
            messages=(*self._opening.chat, *self._chat),
            parameters=self._parameters,
            timeout=self._context.deadline.required(),
            tools=(*tools, *self._senders.schemas) if self._senders else tools,
            agent=self._revision.spec.name,
            schema=self._output.schema_ if self._output else None,
        )

    async def _compact(self) -> bool:
        """Leaves out a part of the past; False if there is none."""
        opening = await compacted(
            self._opening,
            self._revision,
            self._model,
            self._message,
            self._context,
            ask=self._ask_aside,
        )
        self._opening = opening or self._opening
        return opening is not None

    def _note_size(self, request: ChatRequest, completion: Completion, *, fits: bool) -> None:
        """Notes what the context of the model can take, if that is less than it was sent."""
        full = completion.cut == "context"
        if full or fits:
            tokens = expected(request).input_tokens
            self._revision.sizes.note(self._model.name, tokens * 3 // 4 if full else tokens)

    async def _ask_aside(self, model: Model, request: ChatRequest) -> Completion:
        """A completion that is no turn of the answer, such as a summary. It is paid as well."""
        request = self._within_tokens(request)
        completion = await self._paid(model, request, None, last=False)
        self._aside.append(completion)
        return completion

    async def _paid(
        self, model: Model, request: ChatRequest, reader: Reader | None, *, last: bool
    ) -> Completion:
        on_delta = reader.push if reader else None

        async def call() -> Completion:
            # The timeout is computed again: the wait for money takes time.
            timeout = min(request.timeout, self._context.deadline.required())
            timely = replace(request, timeout=timeout)
            return await model_call.call(model, timely, self._context, on_delta)

        if not model.cost_of(_A_CALL):  # it is free, or its price is not known
            return await model_call.call(model, request, self._context, on_delta)
        return await self._context.budget().spend(model, request, call, last=last)

    async def _keep(self, turn: int, completion: Completion) -> None:
        """Records a turn that another one follows."""
        self._next_turn()
        called = self._context.calls.take(answered=True)
        await self._context.journal().step(TURN, turn, completion=asdict(completion), **called)

    def _next_turn(self) -> None:
        if self._context.reader:
            self._context.reader.restart()

    async def _use_tools(self, turn: int, completion: Completion) -> None:
        """Makes the tool calls that the model asks for, and adds them to the chat with their
        answers."""
        answers = await self._calls.make(turn, completion.tool_calls)
        self._called += len(answers)
        # It was for the first turn: calls that are forced in every turn would never end.
        kept = {name: value for name, value in self._parameters.items() if name != "tool_choice"}
        self._parameters = kept
        self._chat.append(assistant_turn(completion))
        self._context.calls.elsewhere(self._chat[-1], turn=turn)
        for index, (call, answer) in enumerate(zip(completion.tool_calls, answers, strict=True)):
            self._emitted += answer.emitted
            self._chat.append(tool_turn(call, answer.text))
            if index < self._manifest.limits.calls:
                self._context.calls.elsewhere(self._chat[-1], turn=turn, index=index)

    async def _result(self, completion: Completion) -> RunResult:
        """The result of the run.

        Raises:
            Unusable: the answer does not fit `output.schema`.
        """
        data: Any = completion.text
        if self._output:
            data = await value_of(data, self._output.schema_, cut=completion.cut is not None)
        return self._with(data)

    def _with(self, data: Any, *, given_back: tuple[ToolCall, ...] = ()) -> RunResult:
        return RunResult(
            data=data,
            completion=self._in_all(),
            given_back=given_back,
            asked=self._opening.asked,
            turns=len(self._completions),
            calls=self._called,
            emitted=tuple(self._emitted),
        )

    async def _correct(self, turn: int, completion: Completion, error: Unusable) -> None:
        """Asks the model to correct its answer.

        Raises:
            TaskError: the model was asked `output.retries` times before (`output_invalid`), or the
                answer was cut off (`model_cut_off`): the next one would be, at the same price.
        """
        assert self._output is not None
        if completion.cut:
            text = f"the answer was {CUT_IN_WORDS[completion.cut]}, and cannot be used: {error}"
            raise Failures(completion.model).error(
                "model_cut_off", text, hint="raise `max_tokens`, or ask for a shorter answer"
            )
        if self._corrections >= self._output.retries:
            raise TaskError(f"the answer cannot be used: {error}", code="output_invalid")
        self._corrections += 1
        if (TURN, turn, 0) not in self._context.steps:
            await self._keep(turn, completion)
        answer = {"role": "assistant", "content": completion.text}
        self._context.calls.elsewhere(answer, turn=turn)
        self._chat += [answer, {"role": "user", "content": correction(error)}]

    def _in_all(self) -> Completion:
        """The last completion, with the tokens and the cost of all calls."""
        answers = [*self._aside, *self._completions]
        spent = self._context.spending.total
        if spent.calls == len(answers) == 1:
            return answers[0]
        return replace(
            answers[-1],
            usage=spent.usage,
            cost=spent.cost,
            cached=all(each.cached for each in answers),
            attempts=tuple(attempt for each in answers for attempt in each.attempts),
        )

    def _within_tokens(self, request: ChatRequest) -> ChatRequest:
        """The request within what is left of the sender's `maxTokens`, in and out together."""
        most = self._message.payload.constraints.max_tokens
        if most is None:
            return request
        answers = [*self._aside, *self._completions]
        return within(request, most - sum(each.usage.total for each in answers if each.usage))
