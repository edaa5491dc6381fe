"""PLACEHOLDER.

In reading order: a module imports only from what stands above it.

    registry     who is online
    routes       work for a set of capabilities, or not for some agents
    eligibility  who could take a task now
    ask          the other side: sends a task and follows its answer
    follow       follows a question beyond its own answer, until a fact ends it
    gather       asks all who are capable, and gathers their answers
"""
