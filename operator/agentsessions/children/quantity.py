"""Kubernetes quantities, as far as comparing them takes."""

from decimal import Decimal
from typing import Final

SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}


def to_number(quantity: str) -> Decimal:
    """Return the value of a quantity that the API server has accepted: `500m`, `1Gi`, `1e3`, `.5`.

    Raises:
        ValueError: It is no quantity.
    """
    suffix = quantity.lstrip("+-0123456789.")
    if suffix[:1] in {"e", "E"} and suffix[1:].lstrip("+-").isdigit():
        return Decimal(quantity)
    if suffix not in SUFFIXES:
        raise ValueError(f"{quantity!r} is no quantity; write a number such as 2, 500m or 1Gi")
    return Decimal(quantity.removesuffix(suffix)) * SUFFIXES[suffix]
