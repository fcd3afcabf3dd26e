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

DONE: Final = frozenset({
    "OBJ-1", "OBJ-2", "OBJ-3", "OBJ-4", "OBJ-5", "OBJ-6", "OBJ-7", "OBJ-8",
    "LIFE-1", "LIFE-2", "LIFE-3", "LIFE-4", "LIFE-5", "LIFE-6", "LIFE-7", "LIFE-8", "LIFE-9", "LIFE-10", "LIFE-11",
    "LIFE-12",
    "LIM-1", "LIM-2", "LIM-3", "LIM-4", "LIM-5",
    "CONV-1", "CONV-2", "CONV-3", "CONV-4",
    "STEP-1", "STEP-2", "STEP-3", "STEP-4", "STEP-5",
    "AG-1", "AG-2", "AG-3", "AG-4", "AG-5", "AG-6", "AG-7", "AG-8", "AG-9", "AG-11",
    "POL-1", "POL-2",
    "ID-1", "ID-2", "ID-3", "ID-4", "ID-6",
    "OPS-1", "OPS-2", "OPS-3", "OPS-4", "OPS-5", "OPS-6", "OPS-7", "OPS-8", "OPS-9",
})  # fmt: skip

PARTIAL: Final = {
    "ID-5": "egress: the policy is tried on real pods, on a cluster that does not enforce it",
}
"""What is missing of requirements that are begun."""
