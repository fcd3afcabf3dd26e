"""How the caller finds the proxy."""

import json
from pathlib import Path


def write_kubeconfig(path: Path, url: str, namespace: str = "default") -> Path:
    """Write a kubeconfig that leads to `url` without credentials: the proxy has them. JSON is YAML too."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "faults",
        "contexts": [{"name": "faults", "context": {"cluster": "faults", "user": "faults", "namespace": namespace}}],
        "clusters": [{"name": "faults", "cluster": {"server": url}}],
        "users": [{"name": "faults", "user": {}}],
    }
    path.write_text(json.dumps(config))
    return path
