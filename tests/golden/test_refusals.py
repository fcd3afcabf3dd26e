"""Every rule of the CRDs has a row that causes it: see `tests/integration/test_crds_words.py`."""

from collections import Counter

from tests.integration.crds_words import ROWS, rules, single_words


def test_every_rule_of_the_crds_is_caused_by_one_row() -> None:
    cannot = single_words()
    wanted = Counter(rule for rule in rules() if rule.message not in cannot)
    assert Counter(row.rule for row in ROWS.values()) == wanted


def test_no_message_of_a_rule_is_composed_of_nothing() -> None:
    assert [rule for rule in rules() if not rule.message.strip()] == []
