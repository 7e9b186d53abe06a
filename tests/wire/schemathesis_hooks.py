"""What schemathesis has to know of forms: a field is text, whatever it was generated as.

It does know that, except in a form with a file: there it takes the member `null` of a text field,
which it sends as the valid text "null", for a violation that the service has to refuse.
"""

import json
from typing import Any

import jsonschema_rs
import schemathesis

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


def readings(value: object) -> list[object]:
    """What a service may read from the field that is sent for a value."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value  # a list is sent as one field per item
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        return [text, json.loads(text)]
    except ValueError:
        return [text]


def breaks_only_before_it_is_sent(schema: Any, value: object) -> bool:
    """Whether a value breaks its schema, and the field that is sent for it does not."""
    validator = jsonschema_rs.validator_for(schema)
    try:
        return not validator.is_valid(value) and any(map(validator.is_valid, readings(value)))
    except (TypeError, ValueError):  # a file, which is sent as it is
        return False


@schemathesis.hook
def filter_case(context: schemathesis.HookContext, case: schemathesis.Case) -> bool:
    """Drop a form that breaks its schema only before it is sent."""
    if case.media_type not in FORMS or not isinstance(case.body, dict):
        return True
    body = case.operation.get_body_for_media_type(case.media_type)
    assert body is not None, case.media_type
    return not any(
        breaks_only_before_it_is_sent(schema, case.body[name])
        for name, schema in body.form_properties.items()
        if name in case.body
    )
