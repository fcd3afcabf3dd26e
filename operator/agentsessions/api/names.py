"""Names that more than one part must agree on."""

from typing import Final

GROUP: Final = "agentsessions.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

LABEL_SESSION_UID: Final = f"{GROUP}/session-uid"
LABEL_SESSION: Final = f"{GROUP}/session"
LABEL_AGENT: Final = f"{GROUP}/agent"
LABEL_EPOCH: Final = f"{GROUP}/epoch"
LABEL_SITE: Final = f"{GROUP}/site"
"""Digest of where a pod was to run, and with which volume; absent where nothing was asked."""
LABEL_OF_SESSION: Final = f"{GROUP}/label-"
"""Begins the labels by which a pod is found by those of its session."""
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGER: Final = "agentsessions-operator"
"""Value of the managed-by label, and the operator's field manager."""

TOKEN_AUDIENCE: Final = "agentsessions-gateway"  # noqa: S105  # a name, not a secret
RUNNER_SERVICE_ACCOUNT: Final = "agentsessions-runner"
"""Service account without rights that the operator keeps in each namespace with sessions."""
CA_CONFIG_MAP: Final = "agentsessions-gateway-ca"
"""ConfigMap with key `ca.crt`: the gateway writes it in the install namespace, the operator copies it to the others."""
NETWORK_POLICY: Final = "agentsessions-runner"

# Paths inside an agent pod.
RUN_DIR: Final = "/var/run/agentsessions"
TOKEN_PATH: Final = f"{RUN_DIR}/token/token"
CA_PATH: Final = f"{RUN_DIR}/ca/ca.crt"
CONTEXT_DIR: Final = f"{RUN_DIR}/context"
DATA_DIR: Final = f"{RUN_DIR}/data"
"""Data sources, as `name.format`: `sales.csv`."""
WORKSPACE_DIR: Final = "/workspace"
FORMER_DIR: Final = "/former-workspace"
"""What a workspace is copied from, in the container that does it."""

# Environment of an agent pod.
ENV_GATEWAY_URL: Final = "AGENTSESSIONS_GATEWAY_URL"
RESERVED_ENV_PREFIXES: Final = ("AGENTSESSIONS_", "OPENAI_", "SSL_CERT_", "PYTHON", "LD_")
RESERVED_ENV_SUFFIXES: Final = ("_PROXY", "_proxy")
RESERVED_ENV_NAMES: Final = ("PATH", "HOME")

RUNNER_UID: Final = 65532
DEFAULT_PROVIDER: Final = "default"
DEFAULT_AGENT: Final = "agent"

MAX_SESSION_NAME: Final = 52
MAX_AGENT_NAME: Final = 20
MAX_RESULT_BYTES: Final = 4096
MAX_TOOL_OUTPUT_BYTES: Final = 65_536
MAX_TOOL_ARGUMENT_CHARACTERS: Final = 262_144
MAX_CONTEXT_BYTES: Final = 262_144
MAX_FILES_BYTES: Final = 1_000_000
"""All files of a session together: one ConfigMap holds them, and etcd takes 1 MiB."""
