"""Objects that a session needs, as they are to be: built from values, without I/O.

Start at `pod.build_pod`; names come from `names`, the frozen context from `snapshot`.
"""
