"""Names of a session's children: told from the session alone, so that a second try finds what the first one made."""

import hashlib
from typing import Final

from agentsessions.api.v1alpha1.placement import FilledFrom, Volume

PREFIX_LENGTH: Final = 40
"""Characters of the session's name that are kept: longer pod names break the kubelet's log folder."""
HASH_LENGTH: Final = 8


def pod_name(session_name: str, session_uid: str, agent: str, epoch: int) -> str:
    """Return the name of an agent's pod in one epoch."""
    return f"{_stem(session_name, session_uid, agent)}-{epoch}"


def claim_name(session_name: str, session_uid: str, agent: str, volume: Volume | None = None) -> str:
    """Return the name of the claim of one of an agent's volumes: of the first one of the default class when None."""
    is_first = volume is None or (volume.number == 0 and volume.storage_class_name is None)
    which = () if volume is None or is_first else (str(volume.number), str(volume.storage_class_name))
    return f"{_stem(session_name, session_uid, agent, *which)}-workspace"


def claim_of(source: FilledFrom, agent: str) -> str:
    """Return the name of the claim of another session that an agent's volume begins with."""
    volume = Volume(number=source.number, storage_class_name=source.storage_class_name, size="")
    return claim_name(source.session_name, source.session_uid, agent, volume)


def context_name(session_name: str, session_uid: str) -> str:
    """Return the name of the ConfigMap that holds the frozen context of a session."""
    return f"{_stem(session_name, session_uid)}-context"


def approval_name(session_name: str, session_uid: str, agent: str, round_: int, call_id: str, number: int) -> str:
    """Return the name of the object that asks people about a call."""
    return _stem(session_name, session_uid, agent, str(round_), call_id, str(number))


def child_session_name(wanted: str, director_uid: str, agent: str, call_id: str) -> str:
    """Return the name of the session that a call of a director's agent starts; it begins as wanted."""
    return _stem(wanted, director_uid, agent, call_id)


def _stem(session_name: str, *identity: str) -> str:
    """Join the readable beginning of the name with a hash of what makes it unique."""
    digest = hashlib.sha256("/".join(identity).encode()).hexdigest()[:HASH_LENGTH]
    return f"{session_name[:PREFIX_LENGTH].rstrip('-.')}-{digest}"
