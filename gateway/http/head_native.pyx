# cython: language_level=3, boundscheck=False, wraparound=False
"""The functions of `gateway/http/head_parts.py`, compiled.

Optional: without a C compiler those in Python are used, which return the same.
`tests/gateway/http/test_head_native.py` holds the two equal.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "Python.h":
    object PyUnicode_DecodeASCII(const char* text, Py_ssize_t size, const char* errors)

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


# Kinds of characters, as bits: of a field name (RFC 9110, 5.6.2), of a plain path and of a plain
# query. `head_parts` says what is plain.
cdef enum:
    OF_NAME = 1
    OF_PATH = 2
    OF_QUERY = 4
    MAX_VALUE_BYTES = 1024
    MAX_NAME_BYTES = 32

cdef unsigned char[256] KINDS
cdef unsigned char[256] LOWER


cdef void fill_tables() noexcept:
    cdef int char
    cdef bint is_letter
    for char in range(256):
        is_letter = b"a" <= char <= b"z" or b"A" <= char <= b"Z"
        KINDS[char] = 0
        if is_letter or b"0" <= char <= b"9" or (char and memchr(b"-._~", char, 4) != NULL):
            KINDS[char] = OF_PATH | OF_QUERY
        if char and memchr(b"!$&'()*+,;=:@/?%", char, 16) != NULL:
            KINDS[char] |= OF_QUERY
        if is_letter or b"0" <= char <= b"9" or (char and memchr(b"!#$%&'*+.^`|~-", char, 14) != NULL):
            KINDS[char] |= OF_NAME
        LOWER[char] = <unsigned char>(char + 32 if b"A" <= char <= b"Z" else char)


fill_tables()


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
        while KINDS[position[0]] & OF_NAME:
            position += 1
        size = position - start
        if size == 0 or position[0] != b":":
            return None
        name = PyBytes_FromStringAndSize(NULL, size)
        lower = <unsigned char*>PyBytes_AS_STRING(name)
        for index in range(size):
            lower[index] = LOWER[start[index]]
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


def read_target(bytes target not None):
    """Return the path and the query of a plain target, or None; see `head_parts`."""
    cdef const unsigned char* start = <const unsigned char*>PyBytes_AS_STRING(target)
    cdef const unsigned char* position = start
    cdef const unsigned char* path_end
    cdef const unsigned char* end = start + PyBytes_GET_SIZE(target)
    while position[0] == b"/":
        position += 1
        if position[0] == b"." or not KINDS[position[0]] & OF_PATH:
            return None
        while KINDS[position[0]] & OF_PATH:
            position += 1
    path_end = position
    if path_end == start:
        return None
    if position[0] == b"?":
        position += 1
        while KINDS[position[0]] & OF_QUERY:
            position += 1
    if position != end:
        return None
    if path_end == end:
        return PyUnicode_DecodeASCII(<const char*>start, end - start, NULL), b""
    return (
        PyUnicode_DecodeASCII(<const char*>start, path_end - start, NULL),
        PyBytes_FromStringAndSize(<const char*>path_end + 1, end - path_end - 1),
    )


cdef const unsigned char* find_line_end(
    const unsigned char* position, const unsigned char* end
) noexcept:
    """Return the end of a line, before its CRLF; `end` if there is none."""
    while True:
        position = <const unsigned char*>memchr(position, b"\r", end - position)
        if position == NULL or position + 1 == end:
            return end
        if position[1] == b"\n":
            return position
        position += 1


cdef bint is_ignored(
    const unsigned char* line, const unsigned char* end, frozenset names
) except -1:
    """Return whether a line has one of the names, and a value that every parser accepts."""
    cdef unsigned char name[MAX_NAME_BYTES]
    cdef Py_ssize_t size = 0
    while size < MAX_NAME_BYTES and line + size < end and KINDS[line[size]] & OF_NAME:
        name[size] = LOWER[line[size]]
        size += 1
    line += size
    if end - line < 3 or end - line - 2 > MAX_VALUE_BYTES or line[0] != b":" or line[1] != b" ":
        return False
    if PyBytes_FromStringAndSize(<const char*>name, size) not in names:
        return False
    line += 2
    if line[0] == b" " or (end - 1)[0] == b" ":
        return False
    while line < end:
        if line[0] < 0x20 or line[0] > 0x7E:
            return False
        line += 1
    return True


def strip_lines(bytes head not None, frozenset names not None):
    """Return a head without the lines of some names, and their number; see `head_parts`."""
    cdef const unsigned char* start = <const unsigned char*>PyBytes_AS_STRING(head)
    cdef const unsigned char* end = start + PyBytes_GET_SIZE(head)
    cdef const unsigned char* kept = start  # what follows is not copied yet
    cdef const unsigned char* line = find_line_end(start, end)
    cdef const unsigned char* line_end
    cdef list pieces = []
    cdef Py_ssize_t count = 0
    while line + 2 < end:
        line_end = find_line_end(line + 2, end)
        if is_ignored(line + 2, line_end, names):
            pieces.append(PyBytes_FromStringAndSize(<const char*>kept, line - kept))
            kept = line_end
            count += 1
        line = line_end
    if count == 0:
        return head, 0
    pieces.append(PyBytes_FromStringAndSize(<const char*>kept, end - kept))
    return b"".join(pieces), count
