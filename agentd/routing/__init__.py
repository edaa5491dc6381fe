"""Who gets a task, and the sender's side.

A module imports only from what stands below it.

    gather       asks all who are capable, and gathers their answers
    follow       follows a question beyond its own answer, until a fact ends it
    ask          the other side: sends a task and follows its answer
    eligibility  who could take a task now
    routes       work for a set of capabilities, or not for some agents
    registry     who is online
"""
