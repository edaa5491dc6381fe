"""The OpenAI-compatible door: clients of OpenAI use agents as models.

A module imports only from modules listed below it.

    door                the routes: models, chat completions, responses
    serving             one answer, as an object or as a stream
    responses           responses that were sent before: continued, fetched
    ask                 sends a question as a task, waits for its answer, cancels it
    follow              follows a task, and writes its answer as a stream
    chat_request        a request of chat completions as a question
    chat_response       an answer as a completion, or as chunks
    responses_request   a request of responses as a question
    responses_response  an answer as a response, or as events
    question            what a client asks, and the task that this is
    answer              what a result says
    models              agents and capabilities as models
    content             texts, images and files of a turn
    forward_text        a text that is streamed and cannot be taken back
    fields              the fields of a request, checked
    long_response       a response that takes a while, or is written while the answer is made
    errors              errors in the shape of OpenAI
"""
