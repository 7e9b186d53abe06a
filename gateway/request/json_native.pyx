# cython: language_level=3, boundscheck=False, wraparound=False
"""Recognises the parsed bodies that need no further check; see `gateway/request/json_body.py`.

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


def is_plain(dict value not None, bytes body not None, Py_ssize_t max_depth):
    """Return whether a body, of which `value` was parsed, certainly breaks no rule.

    It then has no name twice in an object: the strings of `value`, names included, are as many as
    those of `body`. No string has an escaped NUL. No more than `max_depth` levels are nested, all
    integers have 64 bits, and all numbers are finite. If it is False, the body may still be valid.
    """
    cdef const char* text = PyBytes_AS_STRING(body)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t strings = 0
    cdef bint has_escapes = memchr(text, b"\\", size) != NULL
    if has_escapes and memmem(text, size, b"\\u0000", 6) != NULL:
        return False
    if not count_strings(<PyObject*>value, max_depth, &strings):
        return False
    if has_escapes:
        return 2 * strings == count_unescaped_quotes(text, size)
    return 2 * strings == count_quotes(text, size)


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


cdef bint count_strings(PyObject* container, Py_ssize_t depth, Py_ssize_t* strings) except -1:
    """Add the strings of an object or array to `strings`, names included.

    Return whether it has at most `depth` levels, and no number beyond 64 bits or infinite.
    """
    cdef PyObject* name
    cdef PyObject* member
    cdef Py_ssize_t index = 0
    if depth <= 0:
        return False
    if PyDict_CheckExact(container):
        while PyDict_Next(<object>container, &index, &name, &member):
            strings[0] += 1
            if not count_member(member, depth, strings):
                return False
    else:
        for index in range(PyList_GET_SIZE(<object>container)):
            member = PyList_GET_ITEM(<object>container, index)
            if not count_member(member, depth, strings):
                return False
    return True


cdef inline bint count_member(PyObject* member, Py_ssize_t depth, Py_ssize_t* strings) except -1:
    cdef int overflow = 0
    cdef long long number
    if PyUnicode_CheckExact(member):
        strings[0] += 1
    elif PyDict_CheckExact(member) or PyList_CheckExact(member):
        return count_strings(member, depth - 1, strings)
    elif PyLong_CheckExact(member):
        number = PyLong_AsLongLongAndOverflow(member, &overflow)
        return overflow == 0 and number != LLONG_MIN
    elif PyFloat_CheckExact(member):
        return isfinite(PyFloat_AS_DOUBLE(member)) != 0
    return True
