"""The wait doubles, stays within its bound, and is each key's own."""

import pytest

from agentsessions.engine.backoff import Backoff


def longest(_low: float, high: float) -> float:
    return high


def test_backoff_doubles_up_to_its_bound() -> None:
    backoff = Backoff(first_seconds=1, most_seconds=10, spread=longest)
    assert [backoff.next("a") for _ in range(6)] == [1, 2, 4, 8, 10, 10]


def test_backoff_of_one_key_says_nothing_of_another() -> None:
    backoff = Backoff(first_seconds=1, most_seconds=10, spread=longest)
    backoff.next("a")
    assert (backoff.next("a"), backoff.next("b")) == (2, 1)


def test_backoff_begins_anew_after_a_success() -> None:
    backoff = Backoff(first_seconds=1, most_seconds=10, spread=longest)
    backoff.next("a")
    backoff.reset("a")
    backoff.reset("never failed")
    assert backoff.next("a") == 1


def test_backoff_stays_finite_however_often_a_key_fails() -> None:
    backoff = Backoff(first_seconds=1, most_seconds=10, spread=longest)
    assert max(backoff.next("a") for _ in range(5000)) == 10


def test_backoff_spreads_by_default_between_half_and_whole() -> None:
    waits = [Backoff(first_seconds=4, most_seconds=4).next("a") for _ in range(50)]
    assert min(waits) >= 2
    assert max(waits) <= 4
    assert len(set(waits)) > 1
    assert pytest.approx(3, abs=1) == sum(waits) / len(waits)
