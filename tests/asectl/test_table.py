"""Tables of text: columns stand below each other."""

import pytest

from asectl.table import align


def test_cells_are_padded_to_the_widest_of_their_column() -> None:
    assert align([("ID", "APP"), ("k1", "a"), ("k22", "")]) == ["ID   APP", "k1   a", "k22"]
    assert align([]) == []


def test_rows_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        align([("a", "b"), ("c",)])
