"""SessionWebhook: whom to tell when sessions of a namespace change their phase."""

from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from agentsessions.api.model import ApiModel
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.policy import LabelValue
from agentsessions.api.v1alpha1.provider import SecretKeyRef
from agentsessions.api.v1alpha1.status import Condition, Count

DEFAULT_TIMEOUT_SECONDS: Final = 10
MAX_SIGNING_KEYS: Final = 4


class WebhookSelector(ApiModel):
    """Which sessions of the namespace are told of."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = None
    """Labels that a session must have."""


class SessionWebhookSpec(ApiModel):
    """Where to, what of, and signed with what."""

    url: Annotated[
        str,
        Field(
            pattern=r"^https?://[^\s/?#@]+([/?][^\s#]*)?$",
            max_length=1024,
            json_schema_extra={
                "x-kubernetes-validations": [
                    cel(
                        "self.startsWith('https://') || "
                        "self.matches('^http://[a-z0-9-]+[.][a-z0-9-]+[.]svc([.][a-z0-9.-]+)?(:[0-9]+)?([/?]|$)')",
                        "url must begin with https://; http:// is for services of the cluster: "
                        "http://name.namespace.svc",
                    )
                ]
            },
        ),
    ]
    """Where each transition is posted to: https, or http to a service of the cluster (`http://name.namespace.svc`).
    Loopback, link-local, private and cluster addresses only when the administrator allows them. Redirects are not
    followed."""
    secret_key_refs: Annotated[
        list[SecretKeyRef],
        Field(min_length=1, max_length=MAX_SIGNING_KEYS, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ]
    """Where the gateway finds the signing keys, in Secrets of this namespace: `whsec_` and 24 to 64 bytes in base64, or
    24 to 64 printable characters. Each request carries a signature of each: name two while receivers change over."""
    selector: WebhookSelector | None = None
    """Sessions of the namespace that are told of. Absent or empty: all of them."""
    phases: (
        Annotated[
            list[Phase], Field(min_length=1, max_length=len(Phase), json_schema_extra={"x-kubernetes-list-type": "set"})
        ]
        | None
    ) = None
    """Phases whose beginning is told. Absent: every one."""
    timeout_seconds: Annotated[int, Field(ge=1, le=30)] | None = None
    """How long one request may take as a whole; 10 by default."""
    suspend: bool | None = None
    """While true nothing is sent. What is to be told waits."""


class SessionWebhookStatus(ApiModel):
    """How the deliveries go."""

    observed_generation: int | None = None
    """Generation of the spec that the conditions speak of."""
    conditions: Annotated[list[Condition], Field(max_length=8)] | None = Field(
        default=None,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Ready: the keys can be read, and the last request was taken."""
    last_delivery_at: datetime | None = None
    """When a transition was last delivered."""
    last_failure_at: datetime | None = None
    """When a request last failed."""
    delivered: Count | None = None
    """Transitions delivered."""
    waiting: Count | None = None
    """Transitions that are still to be delivered."""
    failures: Count | None = None
    """Requests that failed since the last one that did not."""
    lost: Count | None = None
    """Transitions that were never delivered: given up after 24 hours, or not taken because too many waited."""


class SessionWebhook(ApiModel):
    """A receiver that is told, by signed HTTP requests, when sessions of its namespace change their phase."""

    spec: SessionWebhookSpec
    """Where to, and what of."""
    status: SessionWebhookStatus | None = None
    """How the deliveries go."""
