"""The names that `asectl up` gives to loaders, and the commands that it suggests."""

from pathlib import Path

import pytest

from asectl.up_text import loader_name


@pytest.mark.parametrize(
    ("wrapper", "name"),
    [
        ("words.py:Words", "words"),
        ("ocr.py", "ocr"),
        ("./ocr.py", "ocr"),
        ("models/ocr.py", "ocr"),
        ("examples/image/wrapper.py", "image"),
        ("examples/image/wrapper.py:Scale", "scale"),
    ],
)
def test_loader_is_named_by_class_file_or_folder(wrapper: str, name: str) -> None:
    assert loader_name(wrapper) == name


def test_wrapper_in_this_folder_is_named_by_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ocr").mkdir()
    monkeypatch.chdir(tmp_path / "ocr")
    assert loader_name("wrapper.py") == "ocr"
