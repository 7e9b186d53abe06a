"""The last good state on disk: whole or not there, shared by processes, pruned."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.client.mirror import Mirror, MirrorError, MirrorFile, MirrorGeneration, place_file
from registry.names import InvalidNameError, ServiceVersion
from registry.records import content_digest

OWN = ServiceVersion("shop", "web", "gateway", "1.0.0")
OTHER = ServiceVersion("shop", "web", "image", "1.0.0")


def generation(number: int, **files: bytes) -> tuple[MirrorGeneration, dict[str, bytes]]:
    contents = {content_digest(content): content for content in files.values()}
    entries = tuple(MirrorFile(name, content_digest(content)) for name, content in files.items())
    digest = content_digest(str(number).encode())
    return MirrorGeneration(digest, number, {str(OWN): number}, entries), contents


def test_files_are_placed_by_their_version() -> None:
    assert place_file(OWN, OWN, "certs/ca.pem") == "certs/ca.pem"
    assert place_file(OWN, OTHER, "v1/schema_x.json") == "schemas/image~v1~schema_x.json"
    with pytest.raises(InvalidNameError):
        place_file(OWN, OWN, "../ase.yaml")


def test_a_generation_is_used_when_it_is_whole(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path / "cache")
    assert mirror.read() is None
    assert mirror.in_use() is None
    first, contents = generation(1, a=b"1", b=b"x")
    folder = mirror.write(first, contents)
    assert mirror.read() is None  # written, and not in use
    mirror.use(folder)
    assert mirror.read() == first
    assert (mirror.current / "a").read_bytes() == b"1"
    assert (mirror.current / "schemas").is_dir()
    assert (mirror.current / "a").stat().st_mode & 0o077 == 0
    second, contents = generation(2, a=b"2")
    mirror.use(mirror.write(second, contents))
    assert (mirror.current / "a").read_bytes() == b"2"
    mirror.give_up(mirror.folder_of(second), folder)
    assert mirror.read() == first
    mirror.give_up(mirror.folder_of(second), None)
    assert mirror.read() == first  # another process has changed it meanwhile
    mirror.give_up(folder, None)
    assert mirror.read() is None


def test_contents_are_found_again_unless_they_are_damaged(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    first, contents = generation(1, a=b"one")
    folder = mirror.write(first, contents)
    assert mirror.content(content_digest(b"one")) == b"one"
    assert mirror.content(content_digest(b"two")) is None
    (folder / "a").write_bytes(b"other")
    assert mirror.content(content_digest(b"one")) is None


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    contents = {content_digest(b"1"): b"1"}
    file = MirrorFile("a", content_digest(b"1"))
    with pytest.raises(MirrorError, match="two files are a"):
        Mirror(tmp_path).write(MirrorGeneration("d" * 64, 1, {}, (file, file)), contents)


def test_what_cannot_be_written_leaves_the_last_state(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    first, contents = generation(1, a=b"1")
    mirror.use(mirror.write(first, contents))
    # A file where a folder would have to be, as a disk that is full in the middle.
    bad, contents = generation(2, a=b"2")
    bad = MirrorGeneration(bad.digest, 2, {}, (*bad.files, MirrorFile("a/b", bad.files[0].digest)))
    with pytest.raises(MirrorError):
        mirror.write(bad, contents)
    assert mirror.read() == first
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]
    with pytest.raises(MirrorError):
        Mirror(tmp_path / "current" / "a" / "x").write(*generation(3, a=b"3"))


def test_old_generations_are_removed_and_the_one_in_use_stays(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    folders = []
    for number in range(6):
        folder = mirror.write(*generation(number, a=str(number).encode()))
        os.utime(folder, (number, number))
        folders.append(folder)
    mirror.use(folders[0])
    mirror.prune()
    left = {path.name for path in tmp_path.iterdir() if not path.is_symlink()}
    assert left == {folders[0].name, folders[5].name, folders[4].name}


def test_a_description_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    mirror.use(mirror.write(*generation(1, a=b"1")))
    for text in ("{", "[]", '{"digest": 1}'):
        (mirror.current / ".generation.json").write_text(text)
        assert mirror.read() is None


@pytest.mark.parametrize("digest", ["", "../../up", "D" * 64, "d" * 63, "/" + "d" * 63])
def test_a_digest_is_no_path(tmp_path: Path, digest: str) -> None:
    with pytest.raises(MirrorError, match="is no digest"):
        Mirror(tmp_path / "a" / "b").write(MirrorGeneration(digest, 1, {}, ()), {})
    good, contents = generation(1, a=b"1")
    bad = MirrorGeneration(good.digest, 1, {}, (MirrorFile("a", digest),))
    with pytest.raises(MirrorError, match="is no digest"):
        Mirror(tmp_path).write(bad, contents)


def test_a_generation_that_never_came_to_run_is_not_started_with_again(tmp_path: Path) -> None:
    mirror = Mirror(tmp_path)
    first = mirror.write(*generation(1, a=b"1"))
    try_and_die(tmp_path, first)
    mirror.recover()
    assert mirror.in_use() == first  # there is no other
    assert mirror.is_doubtful(first)
    assert not mirror.has_accepted()
    mirror.accept(first)
    assert not mirror.is_doubtful(first)
    second = mirror.write(*generation(2, a=b"2"))
    try_and_die(tmp_path, second)
    mirror.recover()
    assert mirror.in_use() == first
    assert mirror.is_doubtful(second)
    mirror.use(second)
    assert mirror.is_doubtful(second)  # that we try it now says nothing of those before
    mirror.give_up(second, first)
    mirror.prune()
    assert mirror.has_accepted()


def test_what_another_process_tries_is_in_no_doubt(tmp_path: Path) -> None:
    """A worker starts while its parent, or another worker, tries the same generation."""
    parent, worker = Mirror(tmp_path), Mirror(tmp_path)
    first = parent.write(*generation(1, a=b"1"))
    parent.use(first)
    parent.accept(first)
    second = parent.write(*generation(2, a=b"2"))
    parent.use(second)
    for _ in range(2):  # while it is checked, and while the process starts
        worker.recover()
        assert worker.in_use() == second
        assert not worker.is_doubtful(second)
        parent.mark_tried()
    parent.give_up(second, first)
    assert worker.is_doubtful(second)


def try_and_die(root: Path, folder: Path) -> None:
    """Have a process begin with a generation that it does not come to run with."""
    program = (
        "import sys; from pathlib import Path; from registry.client.mirror import Mirror;"
        "mirror = Mirror(Path(sys.argv[1])); mirror.use(Path(sys.argv[2])); mirror.mark_tried()"
    )
    subprocess.run([sys.executable, "-c", program, root, folder], check=True)
