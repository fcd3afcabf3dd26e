"""A real Kubernetes on one machine, without a container registry.

Standard library only: this runs before any virtual environment exists. `layout`, `configs`, `components` are pure;
`processes`, `network`, `remains`, `certificates`, `toolchain`, `images` each own one kind of thing on the machine;
`health` looks, `local` puts them together, `providers` chooses between it, kind and a given cluster; `cli`: the verbs.
"""
