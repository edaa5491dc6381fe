"""agentd: a declarative runtime for LLM agents on NATS.

The map of the package, in reading order: a module imports only from what stands above it.

What everything else is made of
    errors          the one error tree; it says what becomes of the message
    problems        a mistake in a person's file: place, text, mend
    crash           named places at which a test can kill the process
    bounds          what one rendering of a template may spend
    rate            so much of something in so much time: the arithmetic
    subjects        every NATS subject, spelled here and nowhere else
    strict_json     JSON from strangers, bounded
    media           images and files: what their bytes are, and in words
    json_schema     is a schema one, and does a value fit it?
    json_path       a path into a JSON value
    message_parts   who sent a message, its conversation, payload and routing
    message         the message of protocol 1.0: decode, encode, reply
    settings        what may not change while the process runs

From files to agents
    files           all that the folders hold, read at once
    yaml_nodes      YAML values that know their place
    yaml_syntax     libyaml's complaints in plain words
    yaml_source     hostile YAML in, nodes or problems out
    interpolate     `${VAR}` as Compose has it
    quantities      durations, rates, names and topics as people write them
    cron            cron expressions, checked as the server does
    manifest_parts  a model, limits, retries
    manifest_flow   emit, join, schedule
    manifest_mcp    MCP servers
    manifest_http   HTTP requests and OpenAPI documents
    manifest_tools  tools
    manifest        one agent as its file describes it
    diagnose        what pydantic says, with place and mend
    manifest_file   one file with its folder's defaults and the environment
    prompt_filters  the filters and tests that prompts have
    prompt_code     the Python that a template becomes, with a price on every step
    sandbox         Jinja within bounds
    prompt_source   one template text and every mistake in it
    prompts         a prompt with its includes, compiled once, rendered for each task
    expression      one expression of a manifest
    text_template   a text with expressions in it
    http_request    a request made from a call's arguments
    request_template  a request as a manifest writes it
    openapi         the operations of an OpenAPI document
    python_source   does a file of tools compile?
    spec            one agent, ready to run
    assembly        from a manifest, with all that it names, to an agent
    topology        the agents of a folder as a whole: checked, explained, drawn
    reference       the manifest's JSON Schema and its reference
    catalog         every agent of a folder, and all that is wrong with it

NATS
    nats_binary     which nats-server the embedded server runs
    nats_folder     .agentd: its lock, record, configuration and log
    nats_context    the contexts of the nats command line
    connection      where to connect, and as whom
    nats_server     the embedded server: started, adopted, stopped
    bus             one connection that outlives its servers
    jetstream       messages stored for good, and read back
    streams         the streams and buckets, created and healed
    session         a connection for a server of agents, or for a visitor
    beats           tells the server, from a thread, what is still worked on
    delivery        one task in our hands, settled exactly once
    bands           the tasks of one kind, and which priorities may hold some
    queue           pulls what can be run, the most urgent first
    subscription    what an agent hears of: its consumer for facts, and their doorbell
    gathering       what a join has gathered so far: the arithmetic
    schedules       messages that the server publishes later
    objects         payloads too large for a message, by digest
    journal         what happened to a task before its outcome
    letters         dead letters
    decisions       what people are asked about the calls of a task, and what they say
    approvals       tasks that wait for a person: laid by, and gone on with once
    stops           conversations that a person stopped
    account         what a conversation has spent: the arithmetic
    shared          one value on the server, changed by compare-and-set
    ledger          what each conversation has spent, shared by the replicas
    windows         what was taken of each rate lately, shared by the replicas
    answers         answers kept for identical requests
    cooldowns       which endpoint asked to be left alone, told to all replicas
    registry        who is online
    routes          work for a set of capabilities, or not for some agents
    takers          who could take a task now
    explain         who would take a message, and why the others would not
    asking          the other side: sends a task and follows its answer
    following       follows a question beyond its own answer, until a fact ends it
    gather          asks all who are capable, and gathers their answers

What can be seen
    telemetry       counts and times for Prometheus
    trace           W3C trace context
    log             one record a line, without secrets

Models
    model           the port: a request, a completion, somebody who answers
    estimate        how many tokens a call may take
    models          mocks, OpenAI-compatible endpoints, litellm

Tools
    tool            the port: what a model may call, and what it gets back
    toolbox         all tools of one agent: only what is declared runs, and only within bounds
    tools           Python, HTTP, OpenAPI, MCP, other agents

One task
    admission       may this agent run this message?
    deadline        until when a task may be worked on
    budget          what a task may spend: set aside before a call, settled after it
    parts           images and files in a task, handed to its model
    revision        an agent as one edit left it
    structured      the value that an answer is, or what is wrong with it
    history         what was said before, and how much of it a model is shown
    memory          what is on record of a conversation, summarised where it is long
    means           what a run may use
    conversation    the chat that a run begins with
    model_call      one call of a model, measured, its failures on record
    consent         which calls a person must agree to first
    calls           the tool calls of one turn
    run             from an admitted message to an answer: model, tools, model …
    deltas          the answer while it is made
    outcome         the one visible outcome, put on record
    tally           what an agent has done so far
    retry           whether another attempt is worth it, and when
    emit            what follows an answer: tasks and events
    services        what a process lends to its agents
    attempt         one attempt: admitted, run, its outcome committed
    joined          the facts that a join has gathered, and the task they make
    join            gathers an agent's facts, and runs once for what is complete
    facts           a fact that an agent hears of: joined, or run for
    handler         one delivery, from here to its settlement
    queries         quick questions, answered at once
    agent           takes tasks and runs each on the revision of the moment

One process
    burial          ends a task that nobody runs
    advisories      hears what the server gives up, and buries it
    cancellation    ends a whole tree of work
    resumer         hears decisions, and has tasks go on that waited for them
    presence        online, heartbeat, offline
    watchdog        notices that the event loop stands still
    timetable       the schedules of agents, on the server as in their manifests
    housekeeping    streams, schedules and hints of work are as they should be
    revisions       makes revisions: models and tools, opened
    runtime         apply(catalog): makes what runs equal to what the files say
    watch           sees edits and hands on the catalog they make
    health          /healthz, /readyz, /metrics
    host            everything that `agentd up` starts, in order

At the edge
    testing         real parts for tests and benchmarks
    cli             the command
"""

__version__ = "0.1.0"
