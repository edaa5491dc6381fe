"""Real parts for tests: a stub model, a proxy that breaks connections, a clock, cases, torture.

A module imports only from what stands below it.

    torture       torture for the promises of agentd: scenarios in which everything breaks, and an
                  oracle
    stub_model    an OpenAI-compatible model server that is as slow, as terse or as broken as a
                  test wants
    cases         tests of agents, as people write them beside their manifests: `agentd test`
    chaos_proxy   A TCP proxy that does to a connection what bad networks do; everything can change
                  meanwhile
    stub_reply    what the stub model sends: one answer, well or broken, streamed or whole
    virtual_time  an event loop on which hours pass in milliseconds, and every run is the same
"""
