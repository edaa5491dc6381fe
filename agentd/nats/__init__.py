"""NATS: the connection, the embedded server, the streams, and what agentd stores in them.

A module imports only from those below it.

    upgrade       a store of an older agentd, whose log allows schedules, made like a new one
    permissions   checks that the NATS user may do what agents need
    schedules     messages that the server publishes later: once, at intervals, by cron
    shared_value  one value in a bucket for all replicas: changed by compare-and-set, or a secret
    session       the connection of a command: `serve` for a runtime, `visit` for a short command
    streams       every stream and bucket: its configuration, created, updated, healed
    account       the limits of the NATS account; configurations of streams, fitted or of a kind
    provision     one stream: created, or changed where it differs; waits for JetStream
    objects       contents too large for a message, stored by digest
    jetstream     the JetStream API: store messages with retries, read and delete stored ones
    records       what strangers stored is skipped where it cannot be read, and named once
    server        the embedded nats-server process: start, adopt, stop, find; which program it is
    connection    which server to connect to, and with which credentials
    bus           publish, request, subscribe; size limits
    reconnecting  keeps a client connected: reconnects, replaces it when it gives up
    waiting       calls that wait for an answer, and end at once when none can come
    client        nats-py's client, mended; its messages and errors
    context       context files of the nats command line
    folder        the folder `.agentd`: lock, server record, configuration and log of the server
"""
