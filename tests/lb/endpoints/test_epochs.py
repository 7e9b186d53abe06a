"""Epochs that were followed by others."""

from lb.endpoints.epochs import EpochHistory


def test_replaced_epoch_is_remembered() -> None:
    history, key = EpochHistory(max_instances=2), ("ase", "ocr", "a:1")
    assert not history.contains(key, 7)
    history.add(key, 7)
    assert history.contains(key, 7)
    assert not history.contains(key, 8)
    assert not history.contains(("ase", "ocr", "b:1"), 7)


def test_history_is_bounded() -> None:
    history, key = EpochHistory(max_instances=2), ("ase", "ocr", "a:1")
    for epoch in range(20):
        history.add(key, epoch)
    assert not history.contains(key, 1)
    assert history.contains(key, 19)
    history.add(("ase", "ocr", "b:1"), 1)
    history.add(("ase", "ocr", "c:1"), 1)
    assert not history.contains(key, 19)
