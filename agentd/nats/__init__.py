"""NATS: the embedded server, one connection, streams, and what is stored in them.

A module imports only from what stands below it.

    schedules     messages that the server publishes later
    shared_value  one value on the server, changed by compare-and-set
    session       a connection for a server of agents, or for a visitor
    streams       the streams and buckets, created and healed
    objects       payloads too large for a message, by digest
    jetstream     messages stored for good, and read back
    server        the embedded server: started, adopted, stopped
    connection    where to connect, and as whom
    bus           one connection that outlives its servers
    context       the contexts of the nats command line
    folder        .agentd: its lock, record, configuration and log
    binary        which nats-server the embedded server runs
"""
