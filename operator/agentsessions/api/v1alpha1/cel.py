"""Rules of the CRDs, in CEL."""

from pydantic.config import JsonDict


def cel(rule: str, message: str, *, field: str = "") -> JsonDict:
    """Return one `x-kubernetes-validations` entry; `field` is the JSON name of the property that is at fault."""
    entry: JsonDict = {"rule": rule, "message": message}
    return {**entry, "fieldPath": f".{field}"} if field else entry
