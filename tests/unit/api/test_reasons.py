"""The closed sets of words hold what the product says, and nothing that it never does."""

from enum import Enum
from pathlib import Path

import pytest

from agentsessions.api import reasons

PRODUCT = Path(reasons.__file__).parents[1]
SETS = [kind for kind in vars(reasons).values() if isinstance(kind, type) and issubclass(kind, Enum) and len(kind)]


@pytest.mark.parametrize("kind", SETS, ids=lambda kind: kind.__name__)
def test_every_word_is_one_that_the_product_says(kind: type[Enum]) -> None:
    elsewhere = (path for path in PRODUCT.rglob("*.py") if path != Path(reasons.__file__))
    code = "\n".join(path.read_text() for path in elsewhere)
    assert [word.name for word in kind if f"{kind.__name__}.{word.name}" not in code] == []
