"""`triggers`: the tasks that an agent starts for what happens outside.

A module imports only from modules listed below it.

    trigger   one trigger: a webhook, a subject or files, and the task that it starts
    verify    how a request to a webhook proves who sent it
    callback  where the result is posted
"""
