"""The hash chain, and what it finds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsessions.journal.digests import prompt_digests, request_digest
from agentsessions.journal.entries import (
    GENESIS,
    ChainCheck,
    EntryRow,
    EntryType,
    canonical_json,
    digest_of,
    hash_of,
    to_timestamp,
)
from tests.journal.builders import T0

BODIES = st.dictionaries(
    st.text(max_size=5),
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=20),
    max_size=4,
)


def a_chain(bodies: list[dict[str, Any]]) -> list[EntryRow]:
    chain: list[EntryRow] = []
    for seq, body in enumerate(bodies, start=1):
        entry = EntryRow(
            session_uid="s1", seq=seq, agent="agent", epoch=1, round=1, step=0, index=seq, type=EntryType.MESSAGE,
            at=T0 + timedelta(seconds=seq), body=body, body_digest=digest_of(body),
            previous_hash=chain[-1].hash if chain else GENESIS, hash="",
        )  # fmt: skip
        chain.append(replace(entry, hash=hash_of(entry)))
    return chain


@given(st.lists(BODIES, max_size=6))
def test_a_chain_that_nobody_touched_is_sound(bodies: list[dict[str, Any]]) -> None:
    assert list(ChainCheck().read(a_chain(bodies))) == []


@pytest.mark.requirement("STEP-5")
@given(st.lists(BODIES, min_size=2, max_size=6), st.data())
def test_any_changed_head_missing_or_swapped_entry_is_found(bodies: list[dict[str, Any]], data: st.DataObject) -> None:
    chain = a_chain(bodies)
    at = data.draw(st.integers(0, len(chain) - 2))
    entry = chain[at]
    changes: list[dict[str, Any]] = [
        {"agent": "other"}, {"epoch": 2}, {"round": 2}, {"step": 9}, {"index": 99}, {"type": EntryType.OUTPUT},
        {"at": entry.at + timedelta(microseconds=1)}, {"body": {"not": "this"}}, {"session_uid": "s2"},
        {"body_digest": digest_of("x")}, {"hash": digest_of("x")}, {"previous_hash": digest_of("x")}, {"seq": 77},
    ]  # fmt: skip
    changed = [*chain[:at], replace(entry, **data.draw(st.sampled_from(changes))), *chain[at + 1 :]]
    missing = [*chain[:at], *chain[at + 1 :]]
    swapped = [*chain[:at], chain[at + 1], entry, *chain[at + 2 :]]
    for broken in (changed, missing, swapped):
        assert list(ChainCheck().read(broken)) != []


def test_a_redacted_body_keeps_the_chain_sound() -> None:
    chain = a_chain([{"content": "secret"}, {"content": "b"}])
    assert list(ChainCheck().read([replace(chain[0], body=None), chain[1]])) == []


def test_canonical_json_does_not_depend_on_order() -> None:
    assert canonical_json({"b": [1, {"d": 1, "c": "ü"}], "a": None}) == '{"a":null,"b":[1,{"c":"ü","d":1}]}'.encode()


def test_timestamps_have_one_form() -> None:
    east = timezone(timedelta(hours=2))
    assert to_timestamp(datetime(2026, 1, 1, 2, tzinfo=east)) == "2026-01-01T00:00:00.000000Z"
    assert to_timestamp(datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000Z"


def test_hashes_are_what_the_format_says() -> None:
    body_digest = sha256(b'{"content":"hi","role":"user"}').hexdigest()
    head = (
        '{"agent":"agent","at":"2026-11-01T12:00:0%d.000000Z","bodyDigest":"' + body_digest + '","epoch":1,"index":%d,'
        '"round":1,"seq":%d,"session":"s1","step":0,"type":"message"}'
    )
    first = sha256((head % (1, 1, 1)).encode()).digest()
    second = sha256(first + (head % (2, 2, 2)).encode()).digest()
    chain = a_chain([{"role": "user", "content": "hi"}] * 2)
    assert [entry.hash for entry in chain] == [first.hex(), second.hex()]


def test_requests_that_differ_in_transport_alone_are_equal() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
    streamed = {"stream_options": {"include_usage": True}, **body, "stream": True}
    assert request_digest(body) == request_digest(streamed)
    assert request_digest(body) != request_digest({**body, "temperature": 0.6})


def test_a_request_continues_the_one_whose_messages_it_begins_with() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    first, second = ({"model": "m", "messages": messages[:n]} for n in (1, 2))
    assert prompt_digests(first)[-1] in prompt_digests(second)
    assert prompt_digests({**first, "model": "n"})[-1] not in prompt_digests(second)
    assert prompt_digests({"model": "m"}) == ()
