"""Tests of agents, as people write them beside their manifests: `agentd test`.

A module imports only from what stands below it.

    session    all tests of a folder in one go, on a server of their own
    junit      what came of tests, as JUnit has it: what CI servers read
    player     plays a case: the agent as it is, with what stands in for its model and its tools
    judgement  whether a run is what a test expects of it
    stand_in   tools and models that stand in for the real ones, and a tape of what the real ones
               said
    case       A `*.test.yaml`: cases for one agent, and what stands in for its model and its tools
"""
