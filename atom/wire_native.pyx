# cython: language_level=3, boundscheck=False, wraparound=False
"""`map_entries` and `payload_head` of `atom/wire.py`, compiled: the same bytes in a third of the time.

Optional: without a C compiler the functions in Python are used. `tests/atom/test_wire_native.py`
holds the two equal.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_Contains, PyDict_Next, PyDict_Size
from cpython.object cimport PyObject
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from schemas.model.text import as_text

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    int PyLong_CheckExact(object value)
    long long PyLong_AsLongLongAndOverflow(object value, int* overflow) except? -1

cdef enum:
    STACK_BYTES = 1024
    MAX_DIGITS = 20  # of an integer of 64 bits, with its sign

# Bytes that grow: `data` is `initial` until they need more room.
cdef struct Buffer:
    char* data
    Py_ssize_t size
    Py_ssize_t capacity
    char initial[STACK_BYTES]


cdef void init_buffer(Buffer* buffer) noexcept:
    buffer.data = buffer.initial
    buffer.size = 0
    buffer.capacity = STACK_BYTES


cdef void free_buffer(Buffer* buffer) noexcept:
    if buffer.data != buffer.initial:
        free(buffer.data)


cdef char* reserve(Buffer* buffer, Py_ssize_t size) except NULL:
    """Return the place of the next `size` bytes, which the caller fills."""
    cdef Py_ssize_t needed = buffer.size + size
    cdef Py_ssize_t capacity = buffer.capacity
    cdef char* data
    if needed > capacity:
        while capacity < needed:
            capacity *= 2
        if buffer.data == buffer.initial:
            data = <char*>malloc(capacity)
            if data != NULL:
                memcpy(data, buffer.data, buffer.size)
        else:
            data = <char*>realloc(buffer.data, capacity)
        if data == NULL:
            raise MemoryError
        buffer.data = data
        buffer.capacity = capacity
    data = buffer.data + buffer.size
    buffer.size = needed
    return data


cdef inline Py_ssize_t varint_size(size_t number) noexcept:
    cdef Py_ssize_t size = 1
    while number > 127:
        number >>= 7
        size += 1
    return size


cdef inline char* write_varint(char* position, size_t number) noexcept:
    while number > 127:
        position[0] = <char>(number & 127 | 128)
        position += 1
        number >>= 7
    position[0] = <char>number
    return position + 1


cdef inline char* write_bytes(char* position, const char* data, Py_ssize_t size) noexcept:
    memcpy(position, data, size)
    return position + size


cdef Py_ssize_t write_digits(char* digits, long long number) noexcept:
    """Write a number in decimal to `digits`, which has room for MAX_DIGITS; return its length."""
    cdef unsigned long long rest = <unsigned long long>number
    cdef char reversed_digits[MAX_DIGITS]
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t size = 0
    if number < 0:
        rest = 0 - rest
        digits[0] = b"-"
        size = 1
    while True:
        reversed_digits[count] = <char>(48 + rest % 10)
        count += 1
        rest //= 10
        if rest == 0:
            break
    while count > 0:
        count -= 1
        digits[size] = reversed_digits[count]
        size += 1
    return size


cdef int append_entry(Buffer* buffer, bytes field_tag, str name, object value) except -1:
    cdef Py_ssize_t key_size, value_size, message_size
    cdef Py_ssize_t tag_size = PyBytes_GET_SIZE(field_tag)
    cdef const char* key = PyUnicode_AsUTF8AndSize(name, &key_size)
    cdef const char* text
    cdef char digits[MAX_DIGITS]
    cdef char* position
    cdef long long number = 0
    cdef int overflow = 1
    cdef object converted
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow == 0:
        text = digits
        value_size = write_digits(digits, number)
    else:
        converted = value if type(value) is str else as_text(value)
        text = PyUnicode_AsUTF8AndSize(converted, &value_size)
    message_size = 2 + varint_size(key_size) + key_size + varint_size(value_size) + value_size
    position = reserve(buffer, tag_size + varint_size(message_size) + message_size)
    position = write_bytes(position, PyBytes_AS_STRING(field_tag), tag_size)
    position = write_varint(position, message_size)
    position[0] = 0x0A
    position = write_varint(position + 1, key_size)
    position = write_bytes(position, key, key_size)
    position[0] = 0x12
    position = write_varint(position + 1, value_size)
    write_bytes(position, text, value_size)
    return 0


def map_entries(bytes field_tag not None, dict members not None, dict excluded not None):
    """Encode the members of an object that are not in `excluded`, as entries of a map field."""
    cdef Buffer buffer
    cdef PyObject* name
    cdef PyObject* value
    cdef Py_ssize_t index = 0
    cdef bint has_excluded = PyDict_Size(excluded) > 0
    init_buffer(&buffer)
    try:
        while PyDict_Next(members, &index, &name, &value):
            if has_excluded and PyDict_Contains(excluded, <object>name):
                continue
            append_entry(&buffer, field_tag, <str?><object>name, <object>value)
        return PyBytes_FromStringAndSize(buffer.data, buffer.size)
    finally:
        free_buffer(&buffer)


def payload_head(
    bytes payload_tag not None, bytes meta not None, bytes attributes not None, Py_ssize_t data_size
):
    """Encode a payload but for the bytes of its data, which follow."""
    cdef Py_ssize_t meta_size = PyBytes_GET_SIZE(meta) + PyBytes_GET_SIZE(attributes)
    cdef Py_ssize_t head_size = 2 + varint_size(meta_size) + meta_size + varint_size(data_size)
    cdef Py_ssize_t tag_size = PyBytes_GET_SIZE(payload_tag)
    cdef Py_ssize_t payload_size = head_size + data_size
    cdef bytes encoded = PyBytes_FromStringAndSize(
        NULL, tag_size + varint_size(payload_size) + head_size
    )
    cdef char* position = PyBytes_AS_STRING(encoded)
    position = write_bytes(position, PyBytes_AS_STRING(payload_tag), tag_size)
    position = write_varint(position, payload_size)
    position[0] = 0x0A
    position = write_varint(position + 1, meta_size)
    position = write_bytes(position, PyBytes_AS_STRING(meta), PyBytes_GET_SIZE(meta))
    position = write_bytes(position, PyBytes_AS_STRING(attributes), PyBytes_GET_SIZE(attributes))
    position[0] = 0x12
    write_varint(position + 1, data_size)
    return encoded
