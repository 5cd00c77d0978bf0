"""The examples in docs/conversions.md give the numbers that stand there."""

from __future__ import annotations

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "conversions.md"


def test_examples() -> None:
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False)
    assert attempted > 25
    assert failed == 0
