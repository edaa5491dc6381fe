"""Parts for tests: the torture suite, `agentd test`, a stub model, a faulty network, a fast clock.

A module imports only from what stands below it.

    torture       `agentd torture`: scenarios that break everything around agentd, and their checks
    stub_model    an OpenAI-compatible model server whose answers, delays and faults a test chooses
    cases         `agentd test`: the `*.test.yaml` files that users write for their agents
    chaos_proxy   a TCP proxy that delays, slices, blocks and breaks connections
    stub_reply    one answer of the stub model: correct or faulty, streamed or whole
    virtual_time  an event loop whose clock jumps to the next timer instead of sleeping
"""
