"""The compiled functions against those in Python: any bytes give the same."""

import random

import pytest

from gateway.http import head_native, head_parts

pytestmark = pytest.mark.compiled_only

HEADS = [
    b"POST /v1/private/a?x=1 HTTP/1.1\r\nHost: a:8200\r\nContent-Length: 8\r\n\r\n",
    b"POST / HTTP/1.1\r\nx-length: 7\r\ncontent-length: 12345\r\nX-Empty:\r\nhost:\ta\r\n\r\n{}",
    b"GET / HTTP/1.1\r\nCookie: \xe9; b=\tc\r\nContent-Length: 0\r\n\r\n",
]
IGNORED = frozenset({b"x-length", b"cookie", b"host"})
PIECES = [
    b"", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b"\x80", b"\xff", b"\x7f",
    b"/", b"//", b".", b"?", b"%", b"_",
    b"0", b"9", b"ength: ", b"Content-Length: 5\r\n", b"host: b\r\n", b"POST ", b" HTTP/1.1\r\n",
]  # fmt: skip


def mutate(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(HEADS))
    for _ in range(rng.randrange(5)):
        start = rng.randrange(len(data) + 1)
        piece = rng.choice(PIECES) if rng.random() < 0.8 else rng.randbytes(1)
        data[start : start + rng.choice([0, 0, 1, 6])] = piece
    return bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.1 else data)


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes_give_what_the_functions_in_python_give(seed: int) -> None:
    rng = random.Random(seed)
    split_count = read_count = stripped_count = 0
    for _ in range(20_000):
        data = mutate(rng)
        split = head_parts.split_head(data)
        assert head_native.split_head(data) == split, data
        end = data.find(b"\r\n\r\n") + 4
        for head in (data, data[:end]):
            fields = head_parts.read_fields(head)
            assert head_native.read_fields(head) == fields, head
            stripped = head_parts.strip_lines(head, IGNORED)
            assert head_native.strip_lines(head, IGNORED) == stripped, head
            target = head[5 : head.find(b" ", 5)]
            assert head_native.read_target(target) == head_parts.read_target(target), head
            read_count += fields is not None
            stripped_count += stripped[1] > 0
        split_count += split is not None
    assert split_count > 2000
    assert read_count > 2000
    assert stripped_count > 2000


@pytest.mark.parametrize("char", range(256))
def test_every_character_in_every_place(char: int) -> None:
    head = b"POST /x HTTP/1.1\r\na: bc\r\n\r\n"
    for place in range(len(head)):
        data = head[:place] + bytes((char,)) + head[place:]
        assert head_native.read_fields(data) == head_parts.read_fields(data)
        stripped = head_parts.strip_lines(data, frozenset({b"a"}))
        assert head_native.strip_lines(data, frozenset({b"a"})) == stripped
    for target in (b"/%ba", b"/a%bb", b"/a?%b", b"/a/%b", b"%b"):
        data = target % bytes((char,))
        assert head_native.read_target(data) == head_parts.read_target(data)
