"""What each kind of span says: its name, its kind and its attributes.

What a sampler needs (operation, provider, model, agent) is there from the start.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from agentd.errors import SubjectError
from agentd.models.port import ChatRequest, Completion, ModelAttempt, Usage
from agentd.models.providers import split
from agentd.protocol.message import AgentMessage
from agentd.protocol.subjects import AGENT_DOMAIN, Subject
from agentd.telemetry import names
from agentd.telemetry.content import Attributes, encodable

Kind = Literal["internal", "client", "producer", "consumer"]

_PROVIDERS = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "bedrock": "aws.bedrock",
    "cohere_chat": "cohere",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "vertex_ai": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai",
}
_NO_MODEL = "agentd"  # in place of a provider, for an agent that calls none


@dataclass(frozen=True)
class Opening:
    """What is known of a span when it begins."""

    name: str
    kind: Kind
    attributes: Attributes = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        """Makes all of it text that can be exported."""
        said = {name: encodable(value) for name, value in self.attributes.items()}
        object.__setattr__(self, "name", encodable(self.name))
        object.__setattr__(self, "attributes", said)


def provider_of(model: str) -> str:
    """The provider of a model, as the conventions name it."""
    provider, _ = split(model)
    return _PROVIDERS.get(provider, provider or "unknown") if model else _NO_MODEL


def agent(
    name: str, message: AgentMessage, *, revision: str, model: str, description: str
) -> Opening:
    """An agent answers a message."""
    conversation = message.context.conversation_id
    own = {names.REQUEST_MODEL: model} if model else {}
    return Opening(
        f"{names.INVOKE_AGENT} {name}",
        "internal",
        {
            names.OPERATION: names.INVOKE_AGENT,
            names.PROVIDER: provider_of(model),
            names.AGENT_NAME: name,
            names.AGENT_ID: name,
            names.AGENT_VERSION: revision,
            names.CONVERSATION: conversation,
            names.TASK: message.id,
            names.KIND: "AGENT",
            names.OI_AGENT: name,
            names.SESSION: conversation,
            **({names.AGENT_DESCRIPTION: description} if description else {}),
            **own,
        },
    )


def agent_end(completion: Completion) -> Attributes:
    """How the run of an agent ended."""
    return {
        **_response(completion),
        **(usage_of(completion.usage) if completion.usage else {}),
        **({} if completion.cost is None else {names.COST: completion.cost}),
    }


def chat(request: ChatRequest, model: str, *, stream: bool) -> Opening:
    """A model is called."""
    provider = provider_of(model)
    parameters = {
        names.PARAMETERS[name]: typed
        for name, value in request.parameters.items()
        if name in names.PARAMETERS and (typed := _typed(name, value)) is not None
    }
    return Opening(
        f"{names.CHAT} {model}",
        "client",
        {
            names.OPERATION: names.CHAT,
            names.PROVIDER: provider,
            names.REQUEST_MODEL: model,
            names.REQUEST_STREAM: stream,
            names.OUTPUT_TYPE: "text" if request.schema is None else "json",
            names.KIND: "LLM",
            names.OI_MODEL: model,
            names.OI_PROVIDER: provider,
            **({names.AGENT_NAME: request.agent} if request.agent else {}),
            **parameters,
        },
    )


def chat_end(attempt: ModelAttempt, first_chunk: float | None) -> Attributes:
    """How the call of a model ended; `first_chunk` in seconds from its start."""
    completion = attempt.completion
    usage = completion.usage if completion else attempt.usage
    cost = completion.cost if completion else attempt.cost
    return {
        **({names.FIRST_CHUNK: first_chunk} if first_chunk is not None else {}),
        **({names.COST: cost, names.OI_COST: cost} if cost is not None else {}),
        **(_response(completion) if completion else {}),
        **(usage_of(usage) if usage else {}),
        **(_tokens(usage) if usage else {}),
    }


def _response(completion: Completion) -> Attributes:
    return {
        **({names.RESPONSE_MODEL: completion.model} if completion.model else {}),
        names.FINISH_REASONS: (completion.finish_reason or "stop",),
        **({names.CACHED: True} if completion.cached else {}),
    }


def usage_of(usage: Usage) -> Attributes:
    """Tokens, as GenAI counts them."""
    parts = {
        names.CACHE_READ: usage.cache_read,
        names.CACHE_WRITTEN: usage.cache_write,
        names.REASONING: usage.reasoning_tokens,
    }
    return {
        names.INPUT_TOKENS: usage.input_tokens,
        names.OUTPUT_TOKENS: usage.output_tokens,
        **{name: tokens for name, tokens in parts.items() if tokens},
    }


def _tokens(usage: Usage) -> Attributes:
    """Tokens, as OpenInference counts them: on calls of models only, or viewers add them twice."""
    parts = {
        names.OI_CACHE_READ: usage.cache_read,
        names.OI_CACHE_WRITTEN: usage.cache_write,
        names.OI_REASONING: usage.reasoning_tokens,
    }
    return {
        names.OI_INPUT_TOKENS: usage.input_tokens,
        names.OI_OUTPUT_TOKENS: usage.output_tokens,
        names.OI_TOKENS: usage.total,
        **{name: tokens for name, tokens in parts.items() if tokens},
    }


def tool(name: str, *, call_id: str, description: str, agent: str) -> Opening:
    """A tool is called."""
    return Opening(
        f"{names.EXECUTE_TOOL} {name}",
        "internal",
        {
            names.OPERATION: names.EXECUTE_TOOL,
            names.TOOL_NAME: name,
            names.TOOL_TYPE: "function",
            names.TOOL_CALL_ID: call_id,
            names.AGENT_NAME: agent,
            names.KIND: "TOOL",
            names.OI_TOOL: name,
            **({names.TOOL_DESCRIPTION: description} if description else {}),
        },
    )


def sent(operation: str, subject: str, message: AgentMessage | None, conversation: str) -> Opening:
    """A message is made (`create`, to be stored with others) or sent (`send`)."""
    own = {names.MESSAGE_ID: message.id} if message else {}
    attributes = {**_destination(operation, subject), names.MESSAGE_CONVERSATION: conversation}
    name = f"{operation} {attributes[names.TEMPLATE]}"
    return Opening(name, "producer", {**attributes, **own, names.KIND: "CHAIN"})


def process(subject: str, *, agent: str, size: int, attempt: int) -> Opening:
    """A delivered message is worked on, until it is settled."""
    attributes = _destination(names.PROCESS, subject)
    return Opening(
        f"{names.PROCESS} {attributes[names.TEMPLATE]}",
        "consumer",
        {
            **attributes,
            names.GROUP: agent,
            names.BODY_SIZE: size,
            names.ATTEMPT: attempt,
            names.KIND: "CHAIN",
        },
    )


def identity(message: AgentMessage) -> Attributes:
    """Which message is worked on."""
    conversation = message.context.conversation_id
    return {
        names.MESSAGE_ID: message.id,
        names.MESSAGE_CONVERSATION: conversation,
        names.SESSION: conversation,
    }


def _destination(operation: str, subject: str) -> Attributes:
    return {
        names.MESSAGING_SYSTEM: names.NATS,
        names.MESSAGING_OPERATION: operation,
        names.MESSAGING_TYPE: operation,
        names.DESTINATION: subject,
        names.TEMPLATE: template_of(subject),
    }


def template_of(subject: str) -> str:
    """The subject without what is new for each message, or chosen by a sender: the name of a span
    must be one of few."""
    try:
        parts = Subject.parse(subject)
    except SubjectError:
        return "{subject}"
    specificity = parts.specificity if parts.domain == AGENT_DOMAIN else "{specificity}"
    rest = ["{taskId}" if parts.type == "result" else "{priority}"] if parts.rest else []
    return ".".join(["agents", parts.env, parts.type, parts.domain, specificity, *rest])


def trigger(kind: str, name: str, agent: str) -> Opening:
    """A trigger starts a task."""
    attributes = {
        names.TRIGGER_KIND: kind,
        names.TRIGGER: name,
        names.AGENT_NAME: agent,
        names.KIND: "CHAIN",
    }
    return Opening(f"trigger {agent}", "internal", attributes)


def post(url: str) -> Opening:
    """The result of a task is posted to a callback. Its path may be a secret."""
    host = urlsplit(url).hostname or "unknown"
    return Opening("POST", "client", {names.HTTP_METHOD: "POST", names.SERVER: host})


def _typed(name: str, value: Any) -> Any:
    """A parameter in the type of its attribute; None for a value that has no such type."""
    match name, value:
        case "stop", str():
            return (value,)
        case "stop", list() | tuple():
            return tuple(map(str, value))
        case "max_tokens" | "max_completion_tokens" | "seed" | "n", int():
            return value
        case _, int() | float() if name not in ("stop", "seed", "n"):
            return float(value)
        case _:
            return None
