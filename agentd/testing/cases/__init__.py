"""`agentd test`: reads and plays the `*.test.yaml` files that users write for their agents.

A module imports only from what stands below it.

    session    plays all cases of a folder at the same time, on a temporary server
    junit      the report of a case, and the JUnit XML file that CI servers read
    player     plays one case: runs the agent with test doubles
    cassette   the recorded answers of real models, and what each of them was an answer to
    judgement  compares a run with the `expect:` of its case
    stand_in   test doubles: tools with given answers, and a model that records what it answers
    case       the format of a `*.test.yaml` file, and reading it
"""
