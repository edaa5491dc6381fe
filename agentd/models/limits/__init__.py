"""What limits the calls of models: slots and cooldowns, rates, and a cache of answers.

A module imports only from modules below it.

    limited_model     a model that waits for a slot of its endpoint; one limiter per endpoint, and
                      the cooldowns that replicas send each other
    configured_model  a model with what its manifest says about calls: parameters, rates, cache
    concurrency       the slots of one endpoint: how many calls at once, who is next, and cooldowns
                      after `Retry-After` and lost connections
    prompt_cache      marks where a provider may cache a prompt
    cache             stored answers: an identical request gets the same answer and costs nothing
    shared_rate       waits until a rate such as 60/min allows a call; replicas count together
    pace              how many calls at once an endpoint can take, learnt from refusals and delays
                      (AIMD)
    fair_queue        the calls that wait for a slot: agents take turns, each agent's calls in order
"""
