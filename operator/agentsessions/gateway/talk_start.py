"""How a one-call conversation begins: with the session that is meant or made, and the messages in it."""

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import replace

from agentsessions.engine.errors import NotFound
from agentsessions.engine.resources import resource_path
from agentsessions.gateway.audit import Attempt
from agentsessions.gateway.auth import EVENTS
from agentsessions.gateway.callers import Caller, find_to_change, require_owner
from agentsessions.gateway.creation import create
from agentsessions.gateway.message_acts import MESSAGES, SEND, act_on_messages, refuse_large
from agentsessions.gateway.naming import fixed_name, to_slug
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.rates import Rate
from agentsessions.gateway.resource_acts import put
from agentsessions.gateway.resource_bodies import SessionCreate
from agentsessions.gateway.state import Gateway
from agentsessions.gateway.talk import Talk
from agentsessions.gateway.talk_models import ConversationRequest, TalkMessage
from agentsessions.gateway.watch import AGENT_SESSION
from agentsessions.journal import inbox
from agentsessions.journal.acts import Act
from agentsessions.journal.ledger import Ledger
from agentsessions.journal.rows import MessageRole, MessageRow, NewMessage, SessionRow
from agentsessions.journal.writer import Work

UNTITLED = "talk"


async def begin(attempt: Attempt, caller: Caller, body: ConversationRequest, key: str | None) -> Talk:
    """Store what is said in the session that is meant, which is made if there is none.

    Raises:
        ProblemError: A right is missing, a rate or size is exceeded, the session is over.
    """
    gateway, namespace = attempt.gateway, attempt.namespace
    said = body.said()
    for one in said:
        refuse_large(one.content)
    gateway.rates.count(Rate.MESSAGES, caller.user, len(said))
    row = await _find(gateway, caller, namespace, body, key)
    if row is not None and body.system_override is not None:
        said = [TalkMessage(role=MessageRole.SYSTEM, content=body.system_override), *said]
    if row is None:
        row = await _create(replace(attempt, act=Act.CREATE), caller, body, key)
    messages = [_to_new(one, caller.user.name) for one in said]
    messages[-1] = replace(messages[-1], idempotency_key=key)
    uid = row.uid
    last = messages[-1].id
    stored, head = await act_on_messages(
        attempt,
        row,
        lambda work: _put_all(work, uid, messages),
        is_new=lambda done: done[0].id == last,
        message=last,
        messages=len(messages),
    )
    return Talk(row, stored, head if stored.entry_seq is None else stored.entry_seq - 1)


async def _find(
    gateway: Gateway, caller: Caller, namespace: str, body: ConversationRequest, key: str | None
) -> SessionRow | None:
    """Return the session that is there, once the caller is known to have the right to talk with it."""
    owner, id_ = caller.user.name, body.session
    if body.session_id is not None:
        ids = gateway.own_ids
        known = ids.find(namespace, owner, body.session_id) or ids.find(namespace, None, body.session_id)
        if known is not None:
            await gateway.watch.write_answer(known)
            id_ = known.uid
    elif id_ is None and key is not None:
        made = await gateway.store.get_session(_name_for(body, owner, key), namespace)
        id_ = made.uid if made is not None and made.deleted_at is None else None
    if id_ is None:
        return None
    verb, resource = SEND
    row = await find_to_change(gateway, caller.user, id_, namespace, verb=verb, resource=resource)
    await _require_rights(gateway, caller, row.namespace, row.name, body)
    return row


async def _create(attempt: Attempt, caller: Caller, body: ConversationRequest, key: str | None) -> SessionRow:
    """Make the session; one that somebody else made of the same call in this moment will do."""
    gateway, namespace = attempt.gateway, attempt.namespace
    owner = caller.user.name
    name = _name_for(body, owner, key)
    await _require_rights(gateway, caller, namespace, name, body)
    wanted = SessionCreate.model_validate(body.to_spec(owner).to_json() | {"name": name})
    try:
        return await put(gateway, await create(attempt, caller, wanted))
    except ProblemError as problem:
        if problem.code not in {ProblemCode.ALREADY_EXISTS, ProblemCode.DUPLICATE_ID}:
            raise
        try:
            there = await gateway.client.get(resource_path(AGENT_SESSION, namespace, name))
        except NotFound:  # it went in this moment
            raise problem from None
        row = await put(gateway, there)
        if (row.spec.get("owner"), row.spec.get("sessionId")) != (owner, body.session_id):
            raise
        await require_owner(gateway, caller.user, row)
        return row


async def _require_rights(
    gateway: Gateway, caller: Caller, namespace: str, name: str, body: ConversationRequest
) -> None:
    for verb, resource in (SEND, ("get", MESSAGES)):
        await gateway.auth.require(caller.user, verb, resource, namespace, name)
    if body.stream:
        await gateway.auth.require(caller.user, "get", EVENTS, namespace, name)


def _name_for(body: ConversationRequest, owner: str, key: str | None) -> str:
    """Return the name of a session for this call: the same for the same id, or the same key."""
    if body.session_id is not None:
        return fixed_name(body.session_id, owner, body.session_id)
    title = body.title or UNTITLED
    if key is not None:
        return fixed_name(title, owner, "key", key)
    return f"{to_slug(title)}-{secrets.token_hex(4)}"


def _to_new(said: TalkMessage, actor: str) -> NewMessage:
    return NewMessage(
        id=str(uuid.uuid4()),
        content=said.content,
        actor=actor,
        role=said.role,
        tool_call_id=said.tool_call_id,
        tool_name=said.tool_name,
        extra_data=said.extra_data,
    )


def _put_all(work: Work, session_uid: str, messages: Sequence[NewMessage]) -> tuple[MessageRow, int]:
    """Store messages in order, unless the last one's key says that they are; return that one and the journal's head."""
    *before, last = messages
    if not inbox.is_known(work, session_uid, last.idempotency_key):
        for message in before:
            inbox.put(work, session_uid, message)
    return inbox.put(work, session_uid, last), Ledger(work, session_uid).head
