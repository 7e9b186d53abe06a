"""Epochs that were followed by others."""

from lb.lives import Lives


def test_a_life_that_was_followed_is_over() -> None:
    lives, key = Lives(most=2), ("ase", "ocr", "a:1")
    assert not lives.is_over(key, 7)
    lives.end(key, 7)
    assert lives.is_over(key, 7)
    assert not lives.is_over(key, 8)
    assert not lives.is_over(("ase", "ocr", "b:1"), 7)


def test_no_more_are_remembered_than_it_may() -> None:
    lives, key = Lives(most=2), ("ase", "ocr", "a:1")
    for epoch in range(20):
        lives.end(key, epoch)
    assert not lives.is_over(key, 1)
    assert lives.is_over(key, 19)
    lives.end(("ase", "ocr", "b:1"), 1)
    lives.end(("ase", "ocr", "c:1"), 1)
    assert not lives.is_over(key, 19)
