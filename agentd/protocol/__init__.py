"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    message      the message of protocol 1.0: decode, encode, reply
    fields       who sent a message, its conversation, payload and routing
    subjects     every NATS subject, spelled here and nowhere else
    strict_json  JSON from strangers, bounded
    media        images and files: what their bytes are, and in words
    trace        W3C trace context
"""
