"""The wire: messages, subjects, destinations.

A module imports only from what stands below it.

    destination      where a task goes, and the one rule for who may take it
    message          the message of protocol 1.0: decode, encode, reply
    fields           who sent a message, its conversation, payload and routing
    trace            W3C trace context
    media            images and files: what their bytes are, and in words
    strict_json      JSON from strangers, bounded
    subjects         every subject of agentd: built, parsed, matched
    server_subjects  the subjects that the NATS server defines: JetStream's API, buckets, …
"""
