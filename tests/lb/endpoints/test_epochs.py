"""Epochs that were followed by others."""

from lb.endpoints.epochs import EpochHistory


def test_a_life_that_was_followed_is_over() -> None:
    lives, key = EpochHistory(max_instances=2), ("ase", "ocr", "a:1")
    assert not lives.contains(key, 7)
    lives.add(key, 7)
    assert lives.contains(key, 7)
    assert not lives.contains(key, 8)
    assert not lives.contains(("ase", "ocr", "b:1"), 7)


def test_no_more_are_remembered_than_it_may() -> None:
    lives, key = EpochHistory(max_instances=2), ("ase", "ocr", "a:1")
    for epoch in range(20):
        lives.add(key, epoch)
    assert not lives.contains(key, 1)
    assert lives.contains(key, 19)
    lives.add(("ase", "ocr", "b:1"), 1)
    lives.add(("ase", "ocr", "c:1"), 1)
    assert not lives.contains(key, 19)
