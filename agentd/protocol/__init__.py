"""The wire: messages, subjects, destinations.

A module imports only from what stands below it.

    gist             a message in one line, for people
    destination      where a task goes, and the one rule for who may take it
    result           a result, as everyone reads it
    message          the message of protocol 1.0: decode, encode, reply, emit
    fields           the parts of a message: sender, context, payload, routing
    erasure          which messages of the log were erased on purpose
    stream_subjects  what the streams hold, and what becomes of it in the next stream
    shape            a record's JSON, checked against a dataclass
    actor            who did something that is on record
    trace            W3C trace context in headers
    media            images and files: their types, and how a chat message holds them
    strict_json      JSON from untrusted senders: bounded in bytes and values, no duplicate keys
    subjects         every subject of agentd: built, parsed, matched
    server_subjects  the subjects that the NATS server defines: JetStream's API, buckets, …
"""
