"""The record: what is written of each task, and how it is read back.

A module imports only from those below it.
"""
