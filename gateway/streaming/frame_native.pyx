# cython: language_level=3, boundscheck=False, wraparound=False
"""Reads and writes WebSocket messages that are one frame, as nearly all are (RFC 6455, 5.2).

Optional: without a C compiler `websockets` does it, which also handles all other frames. The tests
compare the two (`tests/gateway/streaming/test_frame_native.py`).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef enum:
    FINAL = 0x80  # without a reserved bit
    TEXT = 0x1
    BINARY = 0x2
    MASKED = 0x80


def read_message(bytes data not None, Py_ssize_t max_size):
    """Return the message of a read that is exactly one frame of a client, and whether it is binary.

    Returns None for anything else: a frame that is not whole, not the only one, a fragment or a
    control frame, that breaks a rule, or that has more than `max_size` bytes of data.
    """
    cdef const unsigned char* frame = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t received = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t size
    cdef Py_ssize_t head_size = 6
    cdef unsigned char opcode
    cdef bytes message
    if received < 6 or not frame[1] & MASKED:
        return None
    opcode = frame[0] ^ FINAL
    size = frame[1] & 127
    if opcode != TEXT and opcode != BINARY:
        return None
    if size == 126:
        size = frame[2] << 8 | frame[3]
        head_size = 8
    elif size == 127:
        if received < 14 or frame[2] or frame[3] or frame[4] or frame[5]:
            return None  # as much as that is never whole
        size = <Py_ssize_t>frame[6] << 24 | frame[7] << 16 | frame[8] << 8 | frame[9]
        head_size = 14
    if received != head_size + size or size > max_size:
        return None
    message = PyBytes_FromStringAndSize(NULL, size)
    unmask(<unsigned char*>PyBytes_AS_STRING(message), frame + head_size, frame + head_size - 4, size)
    return message, opcode == BINARY


cdef void unmask(
    unsigned char* target, const unsigned char* source, const unsigned char* key, Py_ssize_t size
) noexcept:
    cdef Py_ssize_t index = 0
    cdef uint64_t key_word, word
    memcpy(&key_word, key, 4)
    memcpy(<char*>&key_word + 4, key, 4)
    while index + 8 <= size:
        memcpy(&word, source + index, 8)
        word ^= key_word
        memcpy(target + index, &word, 8)
        index += 8
    while index < size:
        target[index] = source[index] ^ key[index & 3]
        index += 1


def write_message(bytes message not None, bint binary):
    """Return a message as one frame of a server, which has no mask."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    cdef Py_ssize_t head_size = 2 if size < 126 else 4 if size < 65536 else 10
    cdef bytes encoded = PyBytes_FromStringAndSize(NULL, head_size + size)
    cdef unsigned char* frame = <unsigned char*>PyBytes_AS_STRING(encoded)
    cdef int index
    frame[0] = FINAL | (BINARY if binary else TEXT)
    if head_size == 2:
        frame[1] = <unsigned char>size
    elif head_size == 4:
        frame[1] = 126
        frame[2] = <unsigned char>(size >> 8)
        frame[3] = <unsigned char>size
    else:
        frame[1] = 127
        for index in range(8):
            frame[2 + index] = <unsigned char>(size >> (8 * (7 - index)))
    memcpy(frame + head_size, PyBytes_AS_STRING(message), size)
    return encoded
