"""Measures agentd against a bare NATS handler: `python -m bench`.

__main__       runs the measurements and prints the report
report         prints tables and writes the JSON file
throughput     tasks per second and CPU per task, beside the bare handlers
first_chunk    the time until the first words of an answer arrive
startup        the time until `agentd --help` has ended, and until `agentd up` takes tasks
memory         the memory of one agent, and of each further agent
reload         the time from an edit to the first answer with it
joining        the time from a new manifest to the first answer of its agent
neighbours     the throughput of an agent beside one that fails
parallel       many agents and tasks at the same time, against one after the other
sharing        two processes on one queue
tool_calls     the time of one tool call
indexing       the index of the log: how fast it is built, questions, memory
relay          the CPU for a chunk of a streamed answer
baseline       the bare NATS handlers to compare with
crashing       `agentd` with an agent that crashes
calling_stub   a stub model that calls a tool
adding_server  an MCP server with one tool
batch          sends many tasks at once, and records when each result arrives
load           keeps a number of tasks in flight, and counts the results
rig            starts nats-server, the stub model and agentd in a temporary folder
child          a process: starts it, reads its CPU time and its memory, stops it
figures        figures with their samples, and the sections of the report
"""
