# cython: language_level=3, boundscheck=False, wraparound=False
"""Recognises parsed bodies that break no rule; see `gateway/request/json_body.py`.

Optional: without a C compiler every body is checked in Python, which alone decides what is wrong.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Next
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.limits cimport LLONG_MIN
from libc.math cimport isfinite
from libc.string cimport memchr

cdef extern from "Python.h":
    int PyDict_CheckExact(PyObject* value)
    int PyList_CheckExact(PyObject* value)
    int PyLong_CheckExact(PyObject* value)
    int PyFloat_CheckExact(PyObject* value)
    int PyUnicode_CheckExact(PyObject* value)
    double PyFloat_AS_DOUBLE(PyObject* value)
    long long PyLong_AsLongLongAndOverflow(PyObject* value, int* overflow) except? -1

cdef extern from "string.h" nogil:
    void* memmem(const void* haystack, size_t haystack_size, const void* needle, size_t needle_size)

UNIQUE, FAULTLESS = 1, 2

# What is known of a body: how many strings it has, and whether some value needs a further check.
cdef struct Tally:
    Py_ssize_t strings
    bint has_odd_values


def judge(dict value not None, bytes body not None, Py_ssize_t max_depth):
    """Return what is certain of a body, of which `value` was parsed: 0, UNIQUE or FAULTLESS.

    UNIQUE: no object has a name twice, since the strings of `value`, names included, are as many as
    those of `body`; and no more than `max_depth` levels are nested. FAULTLESS: besides, no string
    has an escaped NUL, all integers have 64 bits, and all numbers are finite.
    """
    cdef const char* text = PyBytes_AS_STRING(body)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef bint has_escapes = memchr(text, b"\\", size) != NULL
    cdef Tally tally
    tally.strings = 0
    tally.has_odd_values = has_escapes and memmem(text, size, b"\\u0000", 6) != NULL
    if not count_strings(<PyObject*>value, max_depth, &tally):
        return 0
    if 2 * tally.strings != (
        count_unescaped_quotes(text, size) if has_escapes else count_quotes(text, size)
    ):
        return 0
    return UNIQUE if tally.has_odd_values else FAULTLESS


cdef Py_ssize_t count_quotes(const char* text, Py_ssize_t size) noexcept:
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t index
    for index in range(size):  # the C compiler makes vector instructions of it
        count += text[index] == b'"'
    return count


cdef Py_ssize_t count_unescaped_quotes(const char* text, Py_ssize_t size) noexcept:
    """Return the number of quotes that begin or end a string of a JSON text."""
    cdef const char* position = text
    cdef const char* end = text + size
    cdef const char* before
    cdef Py_ssize_t count = 0
    while position < end:
        position = <const char*>memchr(position, b'"', end - position)
        if position == NULL:
            break
        before = position
        while before > text and (before - 1)[0] == b"\\":
            before -= 1
        if (position - before) % 2 == 0:
            count += 1
        position += 1
    return count


cdef bint count_strings(PyObject* container, Py_ssize_t depth, Tally* tally) except -1:
    """Count the strings of an object or array, names included; return whether it is not too deep.

    It may have at most `depth` levels.
    """
    cdef PyObject* name
    cdef PyObject* member
    cdef Py_ssize_t index = 0
    if depth <= 0:
        return False
    if PyDict_CheckExact(container):
        while PyDict_Next(<object>container, &index, &name, &member):
            tally.strings += 1
            if not count_member(member, depth, tally):
                return False
    else:
        for index in range(PyList_GET_SIZE(<object>container)):
            member = PyList_GET_ITEM(<object>container, index)
            if not count_member(member, depth, tally):
                return False
    return True


cdef inline bint count_member(PyObject* member, Py_ssize_t depth, Tally* tally) except -1:
    cdef int overflow = 0
    cdef long long number
    if PyUnicode_CheckExact(member):
        tally.strings += 1
    elif PyDict_CheckExact(member) or PyList_CheckExact(member):
        return count_strings(member, depth - 1, tally)
    elif PyLong_CheckExact(member):
        number = PyLong_AsLongLongAndOverflow(member, &overflow)
        if overflow or number == LLONG_MIN:
            tally.has_odd_values = True
    elif PyFloat_CheckExact(member) and not isfinite(PyFloat_AS_DOUBLE(member)):
        tally.has_odd_values = True
    return True
