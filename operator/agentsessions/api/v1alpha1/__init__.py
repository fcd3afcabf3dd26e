"""The resources of `agentsessions.dev/v1alpha1`: the sole source of the CRDs."""
