"""The services of a gateway, by its API. An answer that no gateway gives is a Failure."""

from typing import Any
from urllib.parse import quote

import httpx

from asectl.main import EXIT_UNREACHABLE, Failure
from schemas.model import document
from schemas.model.document import DocumentError
from schemas.model.service import Service


def fetch_services(client: httpx.Client) -> list[dict[str, Any]]:
    """Return the services of a gateway, each with a `service` and more.

    Raises Failure if it is no gateway, and httpx.HTTPError.
    """
    response = client.get("/v1/apis")
    answer = read_json(response)
    services = answer.get("apis") if isinstance(answer, dict) else None
    if not isinstance(services, list) or not all(
        isinstance(service, dict) and isinstance(service.get("service"), str)
        for service in services
    ):
        raise no_gateway(response, "is no list of services")
    return services


def fetch_schema(client: httpx.Client, service_id: str) -> dict[str, Any]:
    """Return the schema document of a service.

    Raises Failure if there is no such service or it is no gateway, and httpx.HTTPError.
    """
    response = client.get(f"/v1/apis/{quote(service_id, safe='')}/schema")
    if response.status_code == 404:
        service_ids = [service["service"] for service in fetch_services(client)]
        raise Failure(f"no service {service_id!r}; there is: {', '.join(service_ids) or 'none'}")
    if response.status_code != 200:
        raise no_gateway(response, "has no schema")
    try:
        return document.parse(response.content)
    except DocumentError as error:
        raise no_gateway(response, f"is no schema document: {error}") from None


def fetch_service(client: httpx.Client, service_id: str) -> Service:
    """Return a service by its schema at the gateway. Raises as `fetch_schema`."""
    try:
        return document.service_from_document(fetch_schema(client, service_id))
    except DocumentError as error:
        raise Failure(f"{client.base_url}: no schema that can be read: {error}") from None


def read_json(response: httpx.Response) -> Any:
    """Return the JSON of a response. Raises Failure if it is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        raise no_gateway(response, "is not JSON") from None


def no_gateway(response: httpx.Response, reason: str) -> Failure:
    """Return the error of a response that no gateway sends; `reason` follows "the response"."""
    message = f"{response.url}: the response (HTTP {response.status_code}) {reason}"
    return Failure(f"{message}; is it a gateway?", EXIT_UNREACHABLE)
