"""Tool: the pydantic models of `api.v1alpha1` in, CustomResourceDefinitions out. Never part of a running process.

`schema` turns a model into a structural schema, `rules` writes the CEL that follows from data, `lint` refuses what is
not described or not bounded, and `crds` puts names and columns around it.
"""
