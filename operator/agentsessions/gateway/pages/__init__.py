"""The web page: what a session did, as HTML made here. Scripts only make it live; without them it is read and used.

- `timeline`, `summary`, `chart` are pure: a page at entry n is a function of the journal up to n.
- What it reads and does are the functions of the API's routes: the same rights, the same audit, the same words.
- Whatever a model, a tool or a person wrote is hostile: it reaches a template as text, or through `markup`.
- Nothing is loaded from elsewhere, and no script or style stands in a page: the content security policy holds it.
"""
