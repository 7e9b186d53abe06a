"""The values of the keyword `format`: which are checked, and how. Pure."""

from typing import Any, Final

# Checked by the library.
CHECKED_FORMATS: Final = frozenset({
    "date-time", "date", "time", "duration", "email", "idn-email", "hostname", "idn-hostname",
    "ipv4", "ipv6", "uri", "uri-reference", "iri", "iri-reference", "uuid", "uri-template",
    "json-pointer", "relative-json-pointer", "regex",
})  # fmt: skip
# Formats of OpenAPI, and `phone`: the assertions that stand for each. The format itself checks
# nothing, and costs nothing.
OPENAPI_FORMATS: Final[dict[str, dict[str, Any]]] = {
    "int32": {"minimum": -(2**31), "maximum": 2**31 - 1},
    "int64": {"minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {}, "double": {}, "password": {}, "byte": {}, "binary": {},
    "phone": {"pattern": r"^\+?[0-9][0-9 -]{4,18}[0-9]$", "maxLength": 32},
}  # fmt: skip
