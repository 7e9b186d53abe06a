"""A function as a service behind a gateway: its types in OpenAPI, its values, its log."""

import base64
import json
from typing import Any

import jsonschema

from tests.harness import Gateway, Loader

SPEC = "tests/wrappers/functions.py:count"


def envelope(order: Any, **params: Any) -> dict[str, Any]:
    data = base64.b64encode(json.dumps(order).encode()).decode()
    return {
        "header": {"app_id": "tests", "status": 3},
        "parameter": {"count": params},
        "payload": {"order": {"text": data}},
    }


def test_values_of_declared_types_travel_to_a_function_and_back() -> None:
    with Gateway() as gateway, Loader(gateway.lb, SPEC) as loader:
        gateway.wait_until_up(loader)
        response = gateway.post(envelope({"words": ["a", "b", "a"], "least": 2}), "count")
        assert response.status_code == 200
        body = response.json()
        assert body["payload"]["counts"]["text"] == {"a": 2}
        refused = gateway.post(envelope({"words": "a"}), "count")
        assert (refused.status_code, refused.json()["header"]["code"]) == (400, 10107)
        message = refused.json()["header"]["message"]
        assert (
            "input 'order' is not of its type: Expected `array`, got `str` - at `$.words`"
            in message
        )

        paths = gateway.http.get("/openapi.json").json()["paths"]
        operation = paths["/v1/private/count"]["post"]
        request = operation["requestBody"]["content"]["application/json"]["schema"]
        order = request["properties"]["payload"]["properties"]["order"]["properties"]["text"]
        assert order["contentMediaType"] == "application/json"
        assert order["contentSchema"]["properties"]["words"] == {
            "type": "array",
            "items": {"type": "string"},
        }
        result = operation["responses"]["200"]["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator(result).validate(body)
        counts = result["properties"]["payload"]["properties"]["counts"]["properties"]["text"]
        assert counts["additionalProperties"] == {"type": "integer"}


def test_log_lines_of_the_author_carry_the_sid() -> None:
    with Gateway() as gateway, Loader(gateway.lb, SPEC) as loader:
        gateway.wait_until_up(loader)
        response = gateway.post(envelope({"words": ["a"]}), "count")
        line = loader.wait_for_event("counting 1 words")
        assert line["sid"] == response.json()["header"]["sid"]
