"""Files of large requests: their names, their end, a folder without room."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from aseloader.processes.shared_inputs import SharedInputs


def test_requests_are_read_and_their_files_used_again(tmp_path: Path) -> None:
    inputs, reader = SharedInputs(tmp_path), SharedInputs(tmp_path)
    references = [inputs.write(b"first"), inputs.write(b"second")]
    assert [reader.read(reference) for reference in references] == [b"first", b"second"]
    for reference in references:
        inputs.release(reference, was_read=True)
    third = inputs.write(b"3")
    assert reader.read(third) == b"3", "without the rest of the earlier request"
    assert len(list(tmp_path.iterdir())) == 2
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_late_reader_finds_no_other_request(tmp_path: Path) -> None:
    inputs = SharedInputs(tmp_path)
    abandoned = inputs.write(b"of one caller")
    inputs.release(abandoned, was_read=False)
    inputs.write(b"of another one")
    with pytest.raises(OSError, match="No such file"):
        SharedInputs(tmp_path).read(abandoned)


def test_memory_of_a_large_request_is_given_back(tmp_path: Path) -> None:
    inputs = SharedInputs(tmp_path)
    inputs.release(inputs.write(bytes(4 * 1024 * 1024 + 1)), was_read=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("reference", ["", "0", "../0-1", "/etc/passwd-1", "0.sock-1", "٣-1", "-1"])
def test_only_numbers_are_references(tmp_path: Path, reference: str) -> None:
    with pytest.raises(ValueError, match="is no shared input"):
        SharedInputs(tmp_path).read(reference)


def test_short_file_is_refused(tmp_path: Path) -> None:
    file = SharedInputs(tmp_path).write(b"abc").partition("-")[0]
    with pytest.raises(ValueError, match="has only 3 bytes"):
        SharedInputs(tmp_path).read(f"{file}-4")


def test_without_room_there_is_an_error_and_no_file(tmp_path: Path) -> None:
    """The limit of file sizes stands for a full tmpfs: a write is short, or fails."""
    source = (
        "import sys, signal, pathlib\n"
        "from aseloader.processes.shared_inputs import SharedInputs\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: SharedInputs(pathlib.Path(sys.argv[1])).write(bytes(9000))\n"
        "except OSError as error: print('refused', error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert run.stdout.startswith("refused")
    assert not list(tmp_path.iterdir())
