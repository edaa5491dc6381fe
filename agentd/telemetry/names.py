"""Every name of the conventions that we use, once.

GenAI: https://github.com/open-telemetry/semantic-conventions-genai (all of it in development, so
names change: change them here). Messaging, HTTP and errors: semantic-conventions 1.44.
OpenInference: https://github.com/Arize-ai/openinference, for viewers that know only these names.
"""

from __future__ import annotations

# spans of GenAI

OPERATION = "gen_ai.operation.name"
INVOKE_AGENT, CHAT, EXECUTE_TOOL = "invoke_agent", "chat", "execute_tool"
PROVIDER = "gen_ai.provider.name"
AGENT_NAME, AGENT_ID = "gen_ai.agent.name", "gen_ai.agent.id"
AGENT_VERSION, AGENT_DESCRIPTION = "gen_ai.agent.version", "gen_ai.agent.description"
CONVERSATION = "gen_ai.conversation.id"
REQUEST_MODEL, RESPONSE_MODEL = "gen_ai.request.model", "gen_ai.response.model"
REQUEST_STREAM = "gen_ai.request.stream"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
OUTPUT_TYPE = "gen_ai.output.type"
INPUT_TOKENS, OUTPUT_TOKENS = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITTEN = "gen_ai.usage.cache_creation.input_tokens"
REASONING = "gen_ai.usage.reasoning.output_tokens"
TOOL_NAME, TOOL_TYPE = "gen_ai.tool.name", "gen_ai.tool.type"
TOOL_CALL_ID, TOOL_DESCRIPTION = "gen_ai.tool.call.id", "gen_ai.tool.description"

# The parameters of a request that the conventions name, by their names in OpenAI's format.
PARAMETERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "stop": "gen_ai.request.stop_sequences",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}

# Only where content is asked for.
INPUT_MESSAGES, OUTPUT_MESSAGES = "gen_ai.input.messages", "gen_ai.output.messages"
TOOL_ARGUMENTS, TOOL_RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"

# other spans

ERROR = "error.type"
MESSAGING_SYSTEM, NATS = "messaging.system", "nats"
MESSAGING_OPERATION, MESSAGING_TYPE = "messaging.operation.name", "messaging.operation.type"
CREATE, SEND, PROCESS = "create", "send", "process"
DESTINATION, TEMPLATE = "messaging.destination.name", "messaging.destination.template"
GROUP = "messaging.consumer.group.name"
MESSAGE_ID, MESSAGE_CONVERSATION = "messaging.message.id", "messaging.message.conversation_id"
BODY_SIZE = "messaging.message.body.size"
HTTP_METHOD, HTTP_STATUS = "http.request.method", "http.response.status_code"
SERVER = "server.address"

# ours: what no convention names

TASK, ATTEMPT = "agentd.task.id", "agentd.task.attempt"
COST, CACHED = "agentd.cost.usd", "agentd.cached"
TRIGGER_KIND, TRIGGER = "agentd.trigger.kind", "agentd.trigger.name"

# OpenInference

KIND = "openinference.span.kind"
SESSION = "session.id"
INPUT, INPUT_TYPE, OUTPUT, OUTPUT_MIME = (
    "input.value",
    "input.mime_type",
    "output.value",
    "output.mime_type",
)
OI_AGENT, OI_TOOL, OI_TOOL_ARGUMENTS = "agent.name", "tool.name", "tool.parameters"
OI_MODEL, OI_PROVIDER, OI_PARAMETERS = (
    "llm.model_name",
    "llm.provider",
    "llm.invocation_parameters",
)
OI_INPUT_TOKENS, OI_OUTPUT_TOKENS = "llm.token_count.prompt", "llm.token_count.completion"
OI_TOKENS = "llm.token_count.total"
OI_CACHE_READ = "llm.token_count.prompt_details.cache_read"
OI_CACHE_WRITTEN = "llm.token_count.prompt_details.cache_write"
OI_REASONING = "llm.token_count.completion_details.reasoning"
OI_COST = "llm.cost.total"
OI_INPUT_MESSAGES, OI_OUTPUT_MESSAGES = "llm.input_messages", "llm.output_messages"

# metrics of GenAI

CALL_SECONDS = "gen_ai.client.operation.duration"
FIRST_CHUNK_SECONDS = "gen_ai.client.operation.time_to_first_chunk"
TOKENS, TOKEN_TYPE = "gen_ai.client.token.usage", "gen_ai.token.type"
AGENT_SECONDS = "gen_ai.invoke_agent.duration"
TOOL_SECONDS = "gen_ai.execute_tool.duration"
