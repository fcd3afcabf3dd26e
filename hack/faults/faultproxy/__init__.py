"""A proxy before the API server, to which calls can go wrong in the ways that calls do.

`calls` says what a call is, `rules` which call is disturbed, `faults` how; `proxy` carries all others unchanged.
A new way to go wrong is one class in `faults`. `calls` and `rules` are pure; only `proxy` needs aiohttp.
"""
