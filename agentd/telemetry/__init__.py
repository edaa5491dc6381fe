"""OpenTelemetry: spans and metrics over OTLP, where the usual variables are set.

Without them nothing of this package runs, and OpenTelemetry is not imported: who could open a span
looks at `active.tracer` first, which is None. A module imports only from those below it.

    start       at the start of `up`: exports what the variables ask for
    export      providers and exporters; an exporter that fails is logged once
    variables   the variables, and whether they ask for anything
    call_spans  the spans of one call of a model, attempt by attempt
    active      the tracer of this process, or None
    tracer      opens and ends spans, and makes them the current ones
    measures    the metrics of the GenAI conventions, for OTLP and for Prometheus
    open_span   a span that has not ended: what is said of it, as it becomes known
    spans       what each kind of span says: its name, its kind and its attributes
    content     messages as attributes, where content is asked for
    names       every name of the conventions, once
"""
