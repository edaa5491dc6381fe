"""Triggers: tasks that begin with a webhook, a message of another program, or a new file.

A delivery that comes twice is one task, at any replica and after any restart.

A module imports only from modules listed below it.

    sources      the triggers that no request starts, and the callbacks, of one process
    webhooks     `POST /hooks/{name}`
    callbacks    posts results to the URLs that triggers name, until they are taken
    file_source  starts a task for each new file of a folder
    nats_source  starts a task for each message on a subject of other programs
    outcome      waits for the result of a task, or for the fact that ends the work
    intake       stores the task of a delivery, once
    draft        the task that a trigger makes of a delivery
    delivery     a delivery: its body as data, the names for expressions, its id
    consumer     a durable consumer on any stream
    folder       the new and complete files of a folder
    signatures   whether a request comes from its sender
"""
