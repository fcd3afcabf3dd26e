"""Ids of the product's requirements, and which of them are done: each of those has a test that names it."""

from typing import Final

ALL: Final = frozenset(
    {
        *(f"OBJ-{n}" for n in range(1, 9)),
        *(f"LIFE-{n}" for n in range(1, 13)),
        *(f"LIM-{n}" for n in range(1, 6)),
        *(f"CONV-{n}" for n in range(1, 5)),
        *(f"STEP-{n}" for n in range(1, 6)),
        *(f"AG-{n}" for n in range(1, 12)),
        *(f"POL-{n}" for n in range(1, 3)),
        *(f"ID-{n}" for n in range(1, 7)),
        *(f"OPS-{n}" for n in range(1, 10)),
    }
)

DONE: Final = frozenset({"OBJ-1", "OBJ-6", "LIFE-1", "LIFE-3", "LIFE-11", "LIM-1", "LIM-3"})
