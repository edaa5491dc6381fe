"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    binary        which nats-server the embedded server runs
    folder        .agentd: its lock, record, configuration and log
    context       the contexts of the nats command line
    connection    where to connect, and as whom
    server        the embedded server: started, adopted, stopped
    bus           one connection that outlives its servers
    jetstream     messages stored for good, and read back
    streams       the streams and buckets, created and healed
    session       a connection for a server of agents, or for a visitor
    objects       payloads too large for a message, by digest
    shared_value  one value on the server, changed by compare-and-set
    schedules     messages that the server publishes later
"""
