"""Numbers as they are printed."""

from collections.abc import Iterable


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the nearest-rank percentile: a value that was measured; of few values p99 is the largest."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values: nothing was measured")
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(int(rank), 1) - 1]


def show(values: Iterable[float], unit: str = "s", digits: int = 2) -> str:
    """Return p50, p99 and the ends of a series."""
    series = list(values)
    cuts = {
        "p50": percentile(series, 50),
        "p99": percentile(series, 99),
        "least": min(series),
        "most": max(series),
    }
    return "  ".join(f"{name} {value:.{digits}f} {unit}" for name, value in cuts.items()) + f"  (n={len(series)})"
