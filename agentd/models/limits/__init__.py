"""What bounds the calls of models: slots, rates, cooldowns, kept answers.

A module imports only from what stands below it.

    limited_model     A model behind the limiter of its endpoint, and the limiters of one process
    configured_model  A model as a manifest lists it: with parameters, rates and a cache of its own
    concurrency       who may call an endpoint now: so many at once, fair between agents, nobody
                      while it rests
    cache             answers given before: an identical request gets the same one, and nobody pays
                      twice
    shared_rate       waits until a rate allows a call: the rate of an agent or of a model, shared
                      by all replicas
    pace              how many calls at once an endpoint bears, learnt from what becomes of them
    fair_queue        who waits for an endpoint, and whose turn it is: agents in rotation, each
                      one's calls in order
"""
