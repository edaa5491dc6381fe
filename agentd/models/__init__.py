"""Models: mocks, OpenAI-compatible endpoints, and all other providers through litellm.

A module imports only from modules below it.

    choose           turns a `model:` of a manifest into an object that can be called, or says what
                     is wrong with it (no such model, no API key, no address)
    mock             `mock/echo`, which repeats its prompt, and `mock/script`, which plays a script
    litellm_bridge   models of all other providers, through litellm: its import, its parameters, its
                     exceptions, and its streams that only look complete
    mock_script      the format of a mock's script, turn by turn, and its problems
    openai_http      one call of an OpenAI-compatible endpoint: the request, and what a refusal or a
                     lost connection means
    wire             OpenAI's chat format as servers really speak it: what is sent, what arrives
    failover         calls the models of a list in order until one answers, and shares the time
                     among them
    limits           slots of an endpoint, cooldowns, rates, cached answers
    providers        the provider of a model's name: its address and the variable with its key;
                     "did you mean"
    ending           how an answer ended: whole, cut off, refused, failed, empty or unfinished
    estimate         how many tokens a call may take, without a tokenizer; `maxTokens` of a sender
    prices           what tokens cost, by the price list in litellm's package
    unavailable      a model of a list that has no key here; the others are called instead
    endpoint         the HTTP session, the address, the key and the proxy of an endpoint
    address          what is probably wrong with the address of an endpoint
    failures         the errors of failed calls: code, retryable or not, `Retry-After`, the
                     provider's text without keys; the deadline of a call
    port             what all models have in common: request, completion, usage, tool call, attempt
    meaning          what a provider's error means, by its HTTP status, its codes and its words
"""
