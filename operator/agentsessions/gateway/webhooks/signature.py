"""How a request is signed: Standard Webhooks, symmetric. Pure.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "whsec_"
SHORTEST_KEY_BYTES: Final = 24
LONGEST_KEY_BYTES: Final = 64


def to_key(secret: str) -> bytes:
    """Return the signing key that a Secret's value stands for.

    Raises:
        ValueError: It is none. The text does not tell the value.
    """
    key = secret.encode()
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error as error:
            raise ValueError(f"what follows {PREFIX} is not base64") from error
    if not SHORTEST_KEY_BYTES <= len(key) <= LONGEST_KEY_BYTES:
        raise ValueError(
            f"a signing key has {SHORTEST_KEY_BYTES} to {LONGEST_KEY_BYTES} bytes, this one {len(key)}: make one with "
            f'echo "{PREFIX}$(openssl rand -base64 32)"'
        )
    return key


def sign(keys: Sequence[bytes], id_: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove where a request comes from, one signature for each key.

    Args:
        keys: Any of which the receiver may know.
        id_: Of the message: the same in each try.
        timestamp: Seconds since 1970, of this try.
        body: As it is sent.
    """
    content = f"{id_}.{timestamp}.".encode() + body
    signatures = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys]
    return {
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
