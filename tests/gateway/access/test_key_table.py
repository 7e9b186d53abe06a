"""The keys of a store as one snapshot."""

import pytest

from gateway.access.api_key import key_hash
from gateway.access.identity import Identity
from gateway.access.key_table import EMPTY_TABLE, KeyTable, StaticKeys, StoredKey

KEY = StoredKey(Identity("shop", "k1"), key_hash=key_hash("ase_x", b"h" * 32))
PAIR = StoredKey(Identity("shop", "k2"), secret="s")


def test_keys_are_found_by_their_text_and_pairs_by_their_id() -> None:
    table = KeyTable(b"h" * 32, [KEY, PAIR])
    assert len(table) == 2
    assert table.find_key("ase_x") is KEY
    assert table.find_pair("k2") is PAIR
    for missing in ("ase_y", "k1", "k2", ""):
        assert table.find_key(missing) is None
    assert table.find_pair("k1") is None


def test_hashes_of_another_store_find_nothing() -> None:
    assert KeyTable(b"i" * 32, [KEY]).find_key("ase_x") is None


@pytest.mark.parametrize(
    ("expires_at", "revoked_at", "problem"),
    [
        (0.0, 0.0, ""),
        (10.1, 0.0, ""),
        (10.0, 0.0, "it has expired"),
        (0.0, 10.1, ""),
        (0.0, 10.0, "it was revoked"),
        (5.0, 5.0, "it was revoked"),
    ],
)
def test_validity(expires_at: float, revoked_at: float, problem: str) -> None:
    key = StoredKey(Identity(), b"h", "", expires_at, revoked_at)
    assert key.problem(10.0) == problem


def test_static_keys_do_not_change() -> None:
    keys = StaticKeys()
    assert keys.refresh() == ""
    assert keys.table() is EMPTY_TABLE
