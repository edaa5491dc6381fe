"""Which agent receives a task, and the sender's side: send, ask, follow, gather.

A module imports only from modules listed below it.

    workflow     the stream of a task and of all that follows from it, until a fact ends it
    answers      which answers of a workflow have begun, and the one that is streamed
    place        a place in the stream of a workflow
    gather       sends a task to every capable agent: all answers, the first, or the majority's
    follow       sends a task and yields all that follows from it, until a fact ends it
    stream       the stream of one task, which any process can go on with
    status       how far a task has come
    ask          sends a task, now or later; yields the deltas of its answer and its result
    results      the result of a task, by the id of the task
    origin       which task was stored first under an id, and where its result belongs
    scheduled    what will be sent later: listed and removed
    accept       accepts a task for a caller, once
    eligibility  where a task goes; checks before it is sent that an agent online may take it
    accepts      whether the content of a message is what an agent takes
    pieces       what a reader has of an answer: which piece is next, which one is old
    routes       announces the routes of requirements, and knows those of the environment
    registry     the agents online: one entry per agent and process, in a bucket
    timetable    when schedules are sent next, and what clock changes do to them, for people
"""
