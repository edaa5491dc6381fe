"""`/api`: tasks, approvals and agents for programs, described by an OpenAPI document.

A module imports only from modules listed below it.

    openapi          what there is, as an OpenAPI document
    live             what happens now, as one stream
    record           tasks on record, traces, costs, revisions
    audit            the newest checkpoint, and whether the log is as it was signed
    letters          dead letters: listed, shown, sent again, dropped
    schedules        what will be sent later: listed, removed
    topology         who asks, and how work flows between agents
    approvals        what waits for a person, and the decisions about it
    tasks            tasks: sent, awaited, followed, read and cancelled; the agents online
    operations       what the routes say of themselves
    approval_models  what approvals take and give, as JSON
    record_models    what the record gives, as JSON
    workflow         tasks followed beyond their results, with `?until=`
    events           what happens with tasks and workflows, as server-sent events
    models           what they take and give, as JSON
    described        routes that describe themselves
"""
