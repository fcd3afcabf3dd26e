"""The words and shapes that every part shares. Pure: no I/O, no clock, no randomness.

`v1alpha1` is the sole source of the CRDs. `wire` is what runner and gateway say to each other, `levels` what
the gateway tells the operator, `reasons` and `names` the closed sets of words.
"""
