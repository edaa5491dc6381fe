"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    limited_model     A model behind the limiter of its endpoint, and the limiters of one process.
    concurrency       Who may call an endpoint now: so many at once, fair between agents, nobody while it rests.
    fair_queue        Who waits for an endpoint, and whose turn it is: agents in rotation, each one's calls in order.
    pace              How many calls at once an endpoint bears, learnt from what becomes of them.
    shared_rate       Waits until a rate allows a call: the rate of an agent or of a model, shared by all replicas.
    cache             Answers given before: an identical request gets the same one, and nobody pays twice.
    configured_model  A model as a manifest lists it: with parameters, rates and a cache of its own.
"""
