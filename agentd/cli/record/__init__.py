"""The commands that read the record back.

A module imports only from those below it.

    picture  draws a trace: a line for each node, with a bar of its time
    words    the words for a node of a trace
"""
