"""Who answers: mocks, OpenAI-compatible endpoints, every other provider through litellm.

A module imports only from what stands below it.

    choose           from a manifest's model to somebody who answers, or to what is wrong with it
    mock             models without a model: one tells what it was asked, one follows a script. No
                     key, no network
    litellm_bridge   models of every other provider, through litellm: imported when first used, and
                     kept honest
    mock_script      A mock's script: what `mock/script` says, turn by turn, and what is wrong with
                     it
    openai_http      models behind an OpenAI-compatible endpoint, called directly over one aiohttp
                     session
    answer           one answer while it arrives: its parts, its bound, and the proof that it is
                     whole
    failover         several models for one call: the first choice, and those that stand in when it
                     fails
    limits           what bounds the calls of models: slots, rates, cooldowns, kept answers
    providers        who stands behind a model's name: where it is reached, and which key it needs
    estimate         how many tokens a call may take, guessed without a tokenizer, and a request
                     kept within them
    prices           what a token costs, out of the price list that litellm's package carries,
                     without litellm
    unavailable      A model of a list that cannot be called here: the others of the list stand in
                     for it
    endpoint         where OpenAI-compatible requests go: one HTTP session for all, and each base
                     URL with its key
    failures         what a failed model call means: its code, whether to try again, and a text
                     without keys
    port             the port to language models: what is asked, what comes back, and the shape of
                     an answerer
    response_format  how a model is told the schema that its answer must fit: natively, or in words
    sse              server-sent events out of bytes that arrive in arbitrary pieces
"""
