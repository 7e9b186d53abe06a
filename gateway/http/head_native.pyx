# cython: language_level=3, boundscheck=False, wraparound=False
"""`split_head` of `gateway/http/head_cache.py` and `read_fields` of `gateway/http/head_reader.py`.

Optional: without a C compiler the functions in Python are used, which return the same.
`tests/gateway/http/test_head_native.py` holds the two equal.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "string.h" nogil:
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)

cdef enum:
    MAX_LENGTH_DIGITS = 9


cdef const char* find_head_end(const char* data, Py_ssize_t size) noexcept:
    """Return the place of the CRLF before the empty line that ends a head; NULL if there is none."""
    cdef const char* position = data
    cdef const char* end = data + size
    while end - position >= 4:
        position = <const char*>memchr(position, b"\r", end - position - 3)
        if position == NULL:
            return NULL
        if memcmp(position, b"\r\n\r\n", 4) == 0:
            return position
        position += 1
    return NULL


def split_head(bytes data not None):
    """Return the head of a read without the digits of its Content-Length, and two numbers.

    They are the offset at which the body starts, and the Content-Length. Returns None if the head
    is incomplete or its first "ength: " has no plain number after it.
    """
    cdef const char* head = PyBytes_AS_STRING(data)
    cdef const char* head_end = find_head_end(head, PyBytes_GET_SIZE(data))
    cdef const char* start
    cdef const char* position
    cdef long number = 0
    cdef bytes key
    if head_end == NULL:
        return None
    start = <const char*>memmem(head, head_end - head, b"ength: ", 7)
    if start == NULL:
        return None
    start += 7
    position = start
    while position < head_end and b"0" <= position[0] <= b"9":
        if position - start == MAX_LENGTH_DIGITS:
            return None
        number = number * 10 + (position[0] - 48)
        position += 1
    if position == start or start[0] == b"0" or (position < head_end and position[0] != b"\r"):
        return None
    key = PyBytes_FromStringAndSize(NULL, (start - head) + (head_end - position))
    memcpy(PyBytes_AS_STRING(key), head, start - head)
    memcpy(PyBytes_AS_STRING(key) + (start - head), position, head_end - position)
    return key, head_end - head + 4, number


# The lower-case form of each character of a field name; 0 for one that no name has (RFC 9110, 5.6.2).
cdef unsigned char[256] NAME_CHARS


cdef void fill_name_chars() noexcept:
    cdef int char
    for char in range(256):
        if b"a" <= char <= b"z" or b"0" <= char <= b"9" or memchr(b"!#$%&'*+.^_`|~-", char, 15) != NULL:
            NAME_CHARS[char] = <unsigned char>char
        elif b"A" <= char <= b"Z":
            NAME_CHARS[char] = <unsigned char>(char + 32)
        else:
            NAME_CHARS[char] = 0


fill_name_chars()


def read_fields(bytes head not None):
    """Return the target and the fields of the head of a POST request, or None; see `head_parts`."""
    cdef const unsigned char* position = <const unsigned char*>PyBytes_AS_STRING(head)
    cdef const unsigned char* end = position + PyBytes_GET_SIZE(head)
    cdef const unsigned char* start
    cdef const unsigned char* value_end
    cdef unsigned char* lower
    cdef Py_ssize_t size
    cdef bytes target
    cdef bytes name
    cdef dict fields = {}
    # The bytes object ends with NUL, which no test below accepts: none reads beyond it.
    if end - position < 14 or memcmp(position, b"POST ", 5) != 0:
        return None
    position += 5
    start = position
    while 0x21 <= position[0] <= 0x7E:
        position += 1
    if position == start or end - position < 11 or memcmp(position, b" HTTP/1.1\r\n", 11) != 0:
        return None
    target = PyBytes_FromStringAndSize(<const char*>start, position - start)
    position += 11
    while position[0] != b"\r":
        start = position
        while NAME_CHARS[position[0]]:
            position += 1
        size = position - start
        if size == 0 or position[0] != b":":
            return None
        name = PyBytes_FromStringAndSize(NULL, size)
        lower = <unsigned char*>PyBytes_AS_STRING(name)
        for index in range(size):
            lower[index] = NAME_CHARS[start[index]]
        position += 1
        while position[0] == b" " or position[0] == b"\t":
            position += 1
        start = position
        while position[0] == b"\t" or (position[0] >= 0x20 and position[0] != 0x7F):
            position += 1
        value_end = position
        if position[0] != b"\r" or position[1] != b"\n":
            return None
        if (position - 1)[0] == b" " or (position - 1)[0] == b"\t" or name in fields:
            return None
        fields[name] = PyBytes_FromStringAndSize(<const char*>start, value_end - start)
        position += 2
    if not fields or end - position != 2 or position[1] != b"\n":
        return None
    return target, fields
