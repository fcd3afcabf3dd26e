"""The web page: what a session did, as HTML made here. Scripts only make it live; without them it can be read.

- `timeline` and `summary` are pure: a page at entry n is a function of the journal up to n.
- Whatever a model, a tool or a person wrote is hostile: it reaches a template as text, or through `markup`.
- The page takes the same bearer tokens as the API. Browsers have none: `kubectl agentsession ui` serves them the page
  on localhost and adds it.
"""
