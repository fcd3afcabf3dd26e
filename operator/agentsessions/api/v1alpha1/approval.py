"""SessionApproval: one call of a tool that a person must decide. The operator makes it; people answer in `decisions`.

Two kinds: an Approval, asked by a rule of an AgentPolicy before the call runs; and a Doubt, about a call with an effect
outside of the session that was begun by a pod or a gateway that is gone: nobody knows whether it happened.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from agentsessions.api.model import ApiModel
from agentsessions.api.v1alpha1.cel import cel
from agentsessions.api.v1alpha1.names import ObjectName
from agentsessions.api.v1alpha1.status import Count

MAX_SHOWN_ARGUMENTS: Final = 4096
"""Characters of the arguments that an approval shows."""
MAX_ANSWER_OUTPUT: Final = 8192
MAX_QUORUM: Final = 8
MAX_DECISIONS: Final = 16


class ApprovalKind(StrEnum):
    """What is asked."""

    APPROVAL = "Approval"
    DOUBT = "Doubt"


class OnExpiry(StrEnum):
    """What becomes of a call that nobody decided in time."""

    DENY = "Deny"
    PAUSE = "Pause"
    ALLOW = "Allow"


class Answer(StrEnum):
    """What a person says. Approve and Deny answer an Approval, Happened and RunAgain a Doubt."""

    APPROVE = "Approve"
    DENY = "Deny"
    HAPPENED = "Happened"
    RUN_AGAIN = "RunAgain"


ANSWERS_OF: Final = {
    ApprovalKind.APPROVAL: (Answer.APPROVE, Answer.DENY),
    ApprovalKind.DOUBT: (Answer.HAPPENED, Answer.RUN_AGAIN),
}


class ApprovalOutcome(StrEnum):
    """What it came to."""

    APPROVED = "Approved"
    DENIED = "Denied"
    HAPPENED = "Happened"
    RUN_AGAIN = "RunAgain"
    WITHDRAWN = "Withdrawn"
    """The session ended, or asks for it no more."""


class ApprovalTerms(ApiModel):
    """How a call is decided that a rule wants to be asked about."""

    quorum: Annotated[int, Field(ge=1, le=MAX_QUORUM)] = 1
    """People who must approve. One who denies is enough to deny."""
    bar_owner: bool = False
    """Whether the session's owner may not decide. Sessions without `spec.owner` are then denied the call, as nobody
    can tell who asked for it."""
    expire_after_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Time to decide. No default: it waits for ever."""
    on_expiry: OnExpiry = OnExpiry.DENY
    """What happens then: Deny, Pause (the session is paused until somebody decides) or Allow."""


class ApprovalRequest(ApiModel):
    """The call that waits, as the journal holds it."""

    kind: ApprovalKind
    """Approval or Doubt."""
    number: Annotated[int, Field(ge=1)] = 1
    """Which question about this call it is: a call in doubt that is run again may come into doubt again."""
    agent: Annotated[str, Field(max_length=63)]
    """Agent that asks for the call."""
    round: Annotated[int, Field(ge=1)]
    """Round of the session."""
    step: Annotated[int, Field(ge=0)]
    """Step whose answer asks for the call."""
    call_id: Annotated[str, Field(max_length=128)]
    """Id of the call in the journal."""
    tool: Annotated[str, Field(max_length=64)]
    """Name of the tool."""
    arguments: Annotated[str, Field(max_length=MAX_SHOWN_ARGUMENTS)]
    """Arguments as the model wrote them, the first 4,096 characters; the journal has them whole."""
    arguments_truncated: bool | None = None
    """True when `arguments` is only the beginning."""
    arguments_digest: Annotated[str, Field(max_length=64)]
    """SHA-256 (hex) of all of them."""
    policy: Annotated[str, Field(max_length=253)] | None = None
    """AgentPolicy whose rule asks."""
    rule: Annotated[str, Field(max_length=63)] | None = None
    """That rule."""
    message: Annotated[str, Field(max_length=1024)]
    """Why it is asked."""
    quorum: Annotated[int, Field(ge=1, le=MAX_QUORUM)] = 1
    """People who must approve."""
    barred: Annotated[str, Field(max_length=253)] | None = None
    """User who may not decide: the session's owner, where the rule says so."""
    asked_at: datetime
    """When it was first asked (UTC)."""
    expires_at: datetime | None = None
    """When the time to decide is over (UTC)."""
    on_expiry: OnExpiry | None = None
    """What happens then."""


class ApprovalDecision(ApiModel):
    """What one person says. It stays as it was first said."""

    answer: Answer
    """Approve or Deny; of a Doubt Happened or RunAgain."""
    reason: Annotated[str, Field(max_length=1024)] | None = None
    """Why, for people, and after a Deny for the model."""
    output: Annotated[str, Field(max_length=MAX_ANSWER_OUTPUT)] | None = None
    """With Happened: the result that the call had, for the model."""


class SessionApprovalSpec(ApiModel):
    """The question, and what people say to it."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel("self.session == oldSelf.session", "spec.session cannot change", field="session"),
                cel("self.request == oldSelf.request", "spec.request cannot change", field="request"),
                cel(
                    "!has(oldSelf.decisions) || (has(self.decisions) && oldSelf.decisions.all(who, "
                    "who in self.decisions && self.decisions[who] == oldSelf.decisions[who]))",
                    "a decision stays as it was first made",
                    field="decisions",
                ),
                cel(
                    "!has(self.decisions) || self.decisions.all(who, self.decisions[who].answer in "
                    "(self.request.kind == 'Doubt' ? ['Happened', 'RunAgain'] : ['Approve', 'Deny']))",
                    "answer an Approval with Approve or Deny, and a Doubt with Happened or RunAgain",
                    field="decisions",
                ),
                cel(
                    "!has(self.decisions) || self.decisions.all(who, has(self.decisions[who].output) == "
                    "(self.decisions[who].answer == 'Happened'))",
                    "give `output`, the result that the call had, with Happened and with no other answer",
                    field="decisions",
                ),
            ]
        }
    )

    session: ObjectName
    """Name of the session that waits."""
    request: ApprovalRequest
    """The call."""
    decisions: Annotated[dict[str, ApprovalDecision], Field(max_length=MAX_DECISIONS)] | None = None
    """What people say, by their user names. Each writes under their own name, which the API server checks, and needs
    the verb `approve` on sessionapprovals."""


class SessionApprovalStatus(ApiModel):
    """What it came to."""

    outcome: ApprovalOutcome | None = None
    """Absent while it waits."""
    decided_by: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=MAX_DECISIONS)] | None = None
    """Users who decided it; absent when its time ran out."""
    decided_at: datetime | None = None
    """When the outcome was seen (UTC)."""
    approvals: Count | None = None
    """Users who approved so far."""
    message: Annotated[str, Field(max_length=1024)] | None = None
    """What it waits for, or how it came out."""


class SessionApproval(ApiModel):
    """A call of a session that a person must decide."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(oldSelf.status) || !has(oldSelf.status.outcome) || self.spec == oldSelf.spec",
                    "it is decided: what comes later does not count",
                    field="spec",
                ),
                cel(
                    "!has(oldSelf.status) || !has(oldSelf.status.outcome) || (has(self.status) && "
                    "has(self.status.outcome) && self.status.outcome == oldSelf.status.outcome)",
                    "status.outcome cannot change once it is set",
                    field="status",
                ),
            ]
        }
    )

    spec: SessionApprovalSpec
    """The question, and what people say."""
    status: SessionApprovalStatus | None = None
    """What it came to."""
