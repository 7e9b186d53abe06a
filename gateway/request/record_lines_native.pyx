# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The functions of `gateway/request/record_lines.py`, compiled: the same texts.

Optional: without a C compiler those in Python are used.
`tests/gateway/request/test_record_lines_native.py` holds the two equal.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    object PyUnicode_DecodeUTF8(const char* text, Py_ssize_t size, const char* errors)

cdef enum:
    STACK_BYTES = 2048
    NUMBERS_BYTES = 160  # of all numbers of a text, each of at most 20 digits and a sign

cdef double MAX_SECONDS = 1e9

# A text that is written from the left; `position` is the end of what was written.
cdef inline char* put(char* position, const char* data, Py_ssize_t size) noexcept:
    memcpy(position, data, size)
    return position + size


cdef inline char* put_number(char* position, long long number) noexcept:
    cdef char digits[20]
    cdef int count = 0
    cdef unsigned long long rest = <unsigned long long>number
    if number < 0:
        position[0] = b"-"
        position += 1
        rest = 0 - rest
    while True:
        digits[count] = <char>(48 + rest % 10)
        count += 1
        rest //= 10
        if rest == 0:
            break
    while count > 0:
        count -= 1
        position[0] = digits[count]
        position += 1
    return position


cdef inline char* put_ms(char* position, double seconds) noexcept:
    cdef long long microseconds = 0
    cdef int thousandths
    if seconds > 0.0:
        microseconds = <long long>((seconds if seconds < MAX_SECONDS else MAX_SECONDS) * 1e6 + 0.5)
    thousandths = microseconds % 1000
    position = put_number(position, microseconds // 1000)
    position[0] = b"."
    position[1] = <char>(48 + thousandths // 100)
    position[2] = <char>(48 + thousandths // 10 % 10)
    position[3] = <char>(48 + thousandths % 10)
    return position + 4


def log_line(
    str prefix not None, str sid not None, str subject not None, str instance not None,
    long long status, long long code, long long attempts, double total_s, double upstream_s, double overhead_s,
    str further_fields not None,
):
    """Return the line of a request in the access log."""
    cdef Py_ssize_t prefix_size, sid_size, subject_size, instance_size, further_size
    cdef const char* prefix_text = PyUnicode_AsUTF8AndSize(prefix, &prefix_size)
    cdef const char* sid_text = PyUnicode_AsUTF8AndSize(sid, &sid_size)
    cdef const char* subject_text = PyUnicode_AsUTF8AndSize(subject, &subject_size)
    cdef const char* instance_text = PyUnicode_AsUTF8AndSize(instance, &instance_size)
    cdef const char* further_text = PyUnicode_AsUTF8AndSize(further_fields, &further_size)
    cdef Py_ssize_t needed = prefix_size + sid_size + subject_size + instance_size + further_size
    cdef char initial[STACK_BYTES]
    cdef char* text = initial
    cdef char* end
    needed += NUMBERS_BYTES + 128  # for the names of the fields
    if needed > STACK_BYTES:
        text = <char*>malloc(needed)
        if text == NULL:
            raise MemoryError
    end = put(text, prefix_text, prefix_size)
    end = put(end, b'"sid": "', 8)
    end = put(end, sid_text, sid_size)
    end = put(end, b'", ', 3)
    end = put(end, subject_text, subject_size)
    end = put(end, b', "instance": ', 14)
    end = put(end, instance_text, instance_size)
    end = put(end, b', "status": ', 12)
    end = put_number(end, status)
    end = put(end, b', "code": ', 10)
    end = put_number(end, code)
    end = put(end, b', "attempts": ', 14)
    end = put_number(end, attempts)
    end = put(end, b', "total_ms": ', 14)
    end = put_ms(end, total_s)
    end = put(end, b', "upstream_ms": ', 17)
    end = put_ms(end, upstream_s)
    end = put(end, b', "overhead_ms": ', 17)
    end = put_ms(end, overhead_s)
    end = put(end, further_text, further_size)
    end = put(end, b"}", 1)
    try:
        return PyUnicode_DecodeUTF8(text, end - text, NULL)
    finally:
        if text != initial:
            free(text)


def response_lines(
    str content_type not None, long long body_size, str sid not None, double overhead_s,
    double upstream_s, long long attempts, str further_lines not None, str instance not None,
):
    """Return the header lines of an answer."""
    cdef Py_ssize_t type_size, sid_size, further_size, instance_size
    cdef const char* type_text = PyUnicode_AsUTF8AndSize(content_type, &type_size)
    cdef const char* sid_text = PyUnicode_AsUTF8AndSize(sid, &sid_size)
    cdef const char* further_text = PyUnicode_AsUTF8AndSize(further_lines, &further_size)
    cdef const char* instance_text = PyUnicode_AsUTF8AndSize(instance, &instance_size)
    cdef Py_ssize_t needed = type_size + sid_size + further_size + instance_size
    cdef char initial[STACK_BYTES]
    cdef char* text = initial
    cdef char* end
    needed += NUMBERS_BYTES + 160  # for the names of the headers
    if needed > STACK_BYTES:
        text = <char*>malloc(needed)
        if text == NULL:
            raise MemoryError
    end = put(text, b"content-type: ", 14)
    end = put(end, type_text, type_size)
    end = put(end, b"\r\ncontent-length: ", 18)
    end = put_number(end, body_size)
    end = put(end, b"\r\nx-ase-request-id: ", 20)
    end = put(end, sid_text, sid_size)
    end = put(end, b"\r\nx-ase-overhead-ms: ", 21)
    end = put_ms(end, overhead_s)
    end = put(end, b"\r\nx-ase-upstream-ms: ", 21)
    end = put_ms(end, upstream_s)
    end = put(end, b"\r\nx-ase-attempts: ", 18)
    end = put_number(end, attempts)
    end = put(end, b"\r\n", 2)
    end = put(end, further_text, further_size)
    if instance_size:
        end = put(end, b"x-ase-instance: ", 16)
        end = put(end, instance_text, instance_size)
        end = put(end, b"\r\n", 2)
    try:
        return PyBytes_FromStringAndSize(text, end - text)
    finally:
        if text != initial:
            free(text)


def success_body(str sid not None, bytes payload not None):
    """Return the envelope of a result."""
    cdef Py_ssize_t sid_size
    cdef const char* sid_text = PyUnicode_AsUTF8AndSize(sid, &sid_size)
    cdef Py_ssize_t payload_size = PyBytes_GET_SIZE(payload)
    cdef const char* members = PyBytes_AS_STRING(payload)
    cdef bint is_empty = payload_size == 2 and members[0] == b"{" and members[1] == b"}"
    cdef bytes body
    cdef char* end
    body = PyBytes_FromStringAndSize(
        NULL, 47 + sid_size + (3 if is_empty else 14 + payload_size)
    )
    end = put(PyBytes_AS_STRING(body), b'{"header":{"code":0,"message":"success","sid":"', 47)
    end = put(end, sid_text, sid_size)
    if is_empty:
        put(end, b'"}}', 3)
    else:
        end = put(end, b'"},"payload":', 13)
        end = put(end, members, payload_size)
        put(end, b"}", 1)
    return body
