"""The index: the log in a SQLite database, so that anything in it is found at once.

It is a cache: made when somebody asks, by reading the log on from where it stopped. A module
imports only from those below it.

    child   brings the index up to date in a process of its own
    index   brings the index up to date, and answers questions from it
    file    the database: its tables, what is added and removed
    rows    a message of the log as a row
    reader  reads a stream on, in batches
    texts   the text of a content, for the search
"""
