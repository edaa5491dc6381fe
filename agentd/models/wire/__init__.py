"""OpenAI's chat format as servers really speak it: what is sent to them, and what arrives.

A module imports only from modules below it.

    body             reads the body of a response: server-sent events, JSON, or lines of JSON
    answer           puts one answer together from chunks or from a whole response; limits its size
    response_format  how a model receives the JSON Schema for its answer: natively or in words
    chat             the messages as every server takes them: neighbouring turns of one role, turns
                     of other models, arguments that are no JSON
    optional_parts   the parts of a request that some servers refuse, and what was learnt about them
    partial_calls    puts tool calls together from the pieces of a stream
    usage            the tokens of a call, wherever a provider reports them
    own_fields       fields that a model wants back with its turn, such as its reasoning
    cache_marks      marks for the cache of a provider, taken out for a server that refuses them
    sse              parses server-sent events from bytes that arrive in pieces
    text             a provider's text as one that can be encoded as UTF-8
    tool_names       names of tools as providers take them
"""
