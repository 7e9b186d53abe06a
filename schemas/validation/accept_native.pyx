# cython: language_level=3, boundscheck=False, wraparound=False
"""Accepts the values that certainly fit a JSON Schema, for the keywords that most schemas have.

Optional: without a C compiler `jsonschema_rs` judges every body. It judges those that are not
accepted here in any case, and all bodies of a schema with other keywords.
"""

from cpython.dict cimport PyDict_GetItemWithError, PyDict_Next, PyDict_Size
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX
    PyObject* Py_None
    PyObject* Py_True
    PyObject* Py_False
    int PyUnicode_CheckExact(PyObject* value)
    int PyDict_CheckExact(PyObject* value)
    int PyList_CheckExact(PyObject* value)
    int PyLong_CheckExact(PyObject* value)
    int PyFloat_CheckExact(PyObject* value)
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject* text)
    double PyFloat_AS_DOUBLE(PyObject* value)
    long long PyLong_AsLongLongAndOverflow(PyObject* value, int* overflow) except? -1

cdef enum:
    OBJECT = 1
    ARRAY = 2
    STRING = 4
    INTEGER = 8
    NUMBER = 16
    BOOLEAN = 32
    NULL_VALUE = 64
    ANY = 127

_TYPES = {
    "object": OBJECT, "array": ARRAY, "string": STRING, "integer": INTEGER, "number": NUMBER,
    "boolean": BOOLEAN, "null": NULL_VALUE,
}  # fmt: skip
_ANNOTATIONS = frozenset({"$schema", "title", "description", "default", "examples"})
# Beyond this, a double does not hold every integer.
cdef long long MAX_EXACT = 9007199254740992


class _UnknownKeywordError(Exception):
    """The schema has a keyword, or a value of one, that is not judged here."""


cdef class Rule:
    """A compiled schema. `accepts` may be False for a value that fits; it is never True otherwise.

    Numbers are compared as doubles, while those are exact. Of an `enum`, `strings` and `integers`
    are the members, and `allows_null`, `allows_true` and `allows_false` tell of the others.
    """

    cdef int types
    cdef dict properties
    cdef tuple required
    cdef bint is_closed
    cdef Rule additional
    cdef Rule items
    cdef Py_ssize_t min_size, max_size  # of an array
    cdef Py_ssize_t min_members, max_members
    cdef Py_ssize_t min_length, max_length
    cdef double minimum, maximum
    cdef bint has_enum, allows_null, allows_true, allows_false
    cdef frozenset strings, integers

    def accepts(self, value):
        """Return whether a value certainly fits the schema."""
        return self.fits(<PyObject*>value)

    cdef bint fits(self, PyObject* value) except -1:
        cdef Py_ssize_t size
        if PyUnicode_CheckExact(value):
            if not self.types & STRING:
                return False
            size = PyUnicode_GET_LENGTH(value)
            if size < self.min_length or size > self.max_length:
                return False
            return not self.has_enum or <object>value in self.strings
        if PyDict_CheckExact(value):
            return self.types & OBJECT and not self.has_enum and self.fits_object(value)
        if value == Py_None:
            return self.types & NULL_VALUE and (not self.has_enum or self.allows_null)
        if value == Py_True:
            return self.types & BOOLEAN and (not self.has_enum or self.allows_true)
        if value == Py_False:
            return self.types & BOOLEAN and (not self.has_enum or self.allows_false)
        if PyLong_CheckExact(value):
            return self.types & (INTEGER | NUMBER) and self.fits_integer(value)
        if PyFloat_CheckExact(value):
            if not self.types & NUMBER or self.has_enum:
                return False
            return self.minimum <= PyFloat_AS_DOUBLE(value) <= self.maximum
        if PyList_CheckExact(value):
            return self.types & ARRAY and not self.has_enum and self.fits_array(value)
        return False

    cdef bint fits_integer(self, PyObject* value) except -1:
        cdef int overflow = 0
        cdef long long number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow or number > MAX_EXACT or number < -MAX_EXACT:
            return False
        if self.has_enum and <object>value not in self.integers:
            return False
        return self.minimum <= <double>number <= self.maximum

    cdef bint fits_object(self, PyObject* value) except -1:
        cdef PyObject* name
        cdef PyObject* member
        cdef PyObject* rule
        cdef Py_ssize_t index = 0
        cdef dict members = <dict>value
        cdef Py_ssize_t count = PyDict_Size(members)
        if count < self.min_members or count > self.max_members:
            return False
        for required in self.required:
            if required not in members:
                return False
        while PyDict_Next(members, &index, &name, &member):
            rule = PyDict_GetItemWithError(self.properties, <object>name)
            if rule != NULL:
                if not (<Rule>rule).fits(member):
                    return False
            elif self.is_closed:
                return False
            elif self.additional is not None and not self.additional.fits(member):
                return False
        return True

    cdef bint fits_array(self, PyObject* value) except -1:
        cdef list members = <list>value
        cdef Py_ssize_t index
        cdef Py_ssize_t size = PyList_GET_SIZE(members)
        if size < self.min_size or size > self.max_size:
            return False
        if self.items is not None:
            for index in range(size):
                if not self.items.fits(PyList_GET_ITEM(members, index)):
                    return False
        return True


def compile_rule(schema):
    """Return the rule of a JSON Schema 2020-12; None if it has keywords that are not judged here.

    `schema` has no references.
    """
    try:
        return _compile(schema)
    except _UnknownKeywordError:
        return None


cdef Rule _compile(object schema):
    cdef Rule rule = Rule()
    rule.types = ANY
    rule.properties = {}
    rule.required = ()
    rule.max_size = rule.max_members = rule.max_length = PY_SSIZE_T_MAX
    rule.minimum = float("-inf")
    rule.maximum = float("inf")
    if schema is True:
        return rule
    if not isinstance(schema, dict):
        raise _UnknownKeywordError
    for keyword, value in schema.items():
        _apply(rule, keyword, value)
    return rule


cdef int _apply(Rule rule, str keyword, object value) except -1:
    if keyword == "type":
        rule.types = 0
        for name in [value] if isinstance(value, str) else value:
            rule.types |= <int>_TYPES[name]
    elif keyword == "properties":
        rule.properties = {name: _compile(member) for name, member in value.items()}
    elif keyword == "required":
        rule.required = tuple(value)
    elif keyword == "additionalProperties":
        if value is False:
            rule.is_closed = True
        else:
            rule.additional = _compile(value)
    elif keyword == "items":
        rule.items = _compile(value)
    elif keyword == "minItems":
        rule.min_size = _size(value)
    elif keyword == "maxItems":
        rule.max_size = _size(value)
    elif keyword == "minProperties":
        rule.min_members = _size(value)
    elif keyword == "maxProperties":
        rule.max_members = _size(value)
    elif keyword == "minLength":
        rule.min_length = _size(value)
    elif keyword == "maxLength":
        rule.max_length = _size(value)
    elif keyword == "minimum":
        rule.minimum = _bound(value)
    elif keyword == "maximum":
        rule.maximum = _bound(value)
    elif keyword == "enum":
        _apply_enum(rule, value)
    elif keyword not in _ANNOTATIONS:
        raise _UnknownKeywordError
    return 0


cdef int _apply_enum(Rule rule, object members) except -1:
    rule.has_enum = True
    rule.strings = frozenset([member for member in members if type(member) is str])
    rule.integers = frozenset([member for member in members if type(member) is int])
    rule.allows_null = any(member is None for member in members)
    rule.allows_true = any(member is True for member in members)
    rule.allows_false = any(member is False for member in members)
    return 0


cdef Py_ssize_t _size(object value) except -1:
    if type(value) is not int or not 0 <= value <= 1 << 40:
        raise _UnknownKeywordError
    return value


cdef double _bound(object value) except *:
    """Return a bound as a double that has exactly its value."""
    if type(value) not in (int, float) or not -MAX_EXACT <= value <= MAX_EXACT:
        raise _UnknownKeywordError
    return value
