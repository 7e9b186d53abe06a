from registry.file_diff import diff_files
from tests.registry.documents import ref


def test_files_differ_by_name_and_content() -> None:
    contents = {ref(c).digest: c for c in (b"a: 1\nb: 2\n", b"a: 1\nb: 3\n", b"\xff\0", b"new")}
    old = {"same": ref(b"new"), "ase.yaml": ref(b"a: 1\nb: 2\n"), "gone": ref(b"\xff\0")}
    new = {"same": ref(b"new"), "ase.yaml": ref(b"a: 1\nb: 3\n"), "more": ref(b"new")}
    diffs = diff_files(old, new, contents)
    assert [(diff.file, diff.change) for diff in diffs] == [
        ("ase.yaml", "changed"),
        ("gone", "removed"),
        ("more", "added"),
    ]
    assert diffs[0].lines[-2:] == ["-b: 2", "+b: 3"]
    assert diffs[1].lines == []  # no text
    assert diffs[2].lines[-1] == "+new"
    assert diff_files(old, old, {}) == []
