"""The life of a session, pure: facts in, decision out. No I/O, no clock; `now` is an argument.

Start at `phases.TRANSITIONS` (the state machine) and `decide.decide` (the one function that moves a session).
"""
