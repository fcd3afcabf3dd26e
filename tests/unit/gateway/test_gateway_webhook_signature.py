"""How requests to receivers are signed, and what keys they are signed with."""

import base64
import time
from pathlib import Path
from typing import Any

import pytest

from agentsessions.gateway.webhooks.signature import sign, to_key

pytestmark = pytest.mark.requirement("OPS-4")

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'


def test_signature_is_that_of_the_specification() -> None:
    """Source: the example of the Standard Webhooks libraries' own tests."""
    headers = sign([to_key(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, BODY)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_request_carries_a_signature_of_each_key() -> None:
    first, second = to_key(SECRET), to_key("x" * 24)
    both = sign([first, second], "m", 1, BODY)["webhook-signature"]
    alone = [sign([key], "m", 1, BODY)["webhook-signature"] for key in (first, second)]
    assert both.split() == alone
    assert len(set(alone)) == 2


def test_key_may_be_plain_text_or_base64() -> None:
    assert to_key("whsec_" + base64.b64encode(b"k" * 32).decode()) == b"k" * 32
    assert to_key("k" * 24) == b"k" * 24


@pytest.mark.parametrize(
    ("secret", "told"),
    [
        ("short", "24 to 64 bytes, this one 5"),
        ("k" * 65, "24 to 64 bytes, this one 65"),
        ("whsec_" + base64.b64encode(b"k" * 8).decode(), "24 to 64 bytes, this one 8"),
        ("whsec_not base64!", "is not base64"),
    ],
)
def test_key_that_is_none_is_refused_without_being_told(secret: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refusal:
        to_key(secret)
    assert secret not in str(refusal.value)


def test_receiver_of_the_documentation_takes_ours_and_no_other() -> None:
    """The page's own code, as a reader copies it."""
    code = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - the page is ours
    is_ours, now = names["is_ours"], int(time.time())
    headers = sign([to_key("x" * 24), to_key(SECRET)], "m-1", now, BODY)
    assert is_ours(headers, BODY, SECRET)
    assert not is_ours(headers, BODY + b" ", SECRET)
    assert not is_ours(headers | {"webhook-id": "m-2"}, BODY, SECRET)
    assert not is_ours(sign([to_key(SECRET)], "m-1", now - 3600, BODY), BODY, SECRET)
    assert not is_ours(sign([to_key("x" * 24)], "m-1", now, BODY), BODY, SECRET)
