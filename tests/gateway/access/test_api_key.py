"""API keys: their form tells a cut or mistyped one, and their hash nothing."""

import random
import re

import pytest

from gateway.access import api_key

KEY = api_key.new_key(random.Random(1).choice)


def test_key_has_prefix_secret_and_checksum() -> None:
    assert re.fullmatch(r"ase_[0-9A-Za-z]{42}", KEY)
    assert api_key.format_problem(KEY) == ""
    assert api_key.new_key(random.Random(2).choice) != KEY


def test_checksum_is_that_of_the_documented_algorithm() -> None:
    """Computed apart from the code: CRC-32 of the first 40 characters in base 62."""
    text = "ase_" + "0" * 36
    assert api_key.format_problem(text + "0KZHmd") == ""


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("", "begin"),
        ("sk_" + KEY[3:], "begin"),
        (KEY[:-1], "45 characters and not 46"),
        (KEY + "x", "47 characters"),
        (KEY[:10] + ("a" if KEY[10] != "a" else "b") + KEY[11:], "checksum"),
        (KEY[:-1] + "é", "checksum"),
    ],
)
def test_problem_names_what_is_wrong_and_not_the_key(key: str, problem: str) -> None:
    message = api_key.format_problem(key)
    assert problem in message
    assert KEY[4:20] not in message


def test_hash_depends_on_key_and_hash_key() -> None:
    hashes = {
        api_key.key_hash(key, hash_key)
        for key in (KEY, KEY[:-1])
        for hash_key in (b"a" * 32, b"b" * 32)
    }
    assert len(hashes) == 4


def test_key_ids_say_nothing_of_a_key() -> None:
    assert re.fullmatch(r"k[a-z2-9]{9}", api_key.new_key_id(random.Random(1).choice))
