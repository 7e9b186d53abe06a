"""Which contract serves a request: by service id, and for a category by the envelope. Pure."""

from collections.abc import Mapping
from typing import Any

from gateway.request.record import RequestRecord
from gateway.services.catalog import Catalog, Contract
from schemas.model import category
from schemas.model.errors import NO_SERVICE, NO_SUB_SERVICE, AseError


def find_contract(catalog: Catalog, service_id: str, record: RequestRecord) -> Contract:
    """Return the contract of a service and note the service in `record`. Raises AseError 10225."""
    contract = catalog.find(service_id)
    if contract is None:
        raise AseError(NO_SERVICE, "no such service")
    record.service, record.code_map = contract.service.id, contract.service.code_map
    return contract


def resolve_contract(
    contract: Contract, envelope: Mapping[str, Any], record: RequestRecord, catalog: Catalog
) -> tuple[Contract, dict[str, str]]:
    """Return the contract that serves an envelope, and the headers that the gateway adds for it.

    For a category this is the sub service that the envelope's values select. Raises AseError 10404.
    """
    route_headers: dict[str, str] = {}
    if contract.service.sub_routes:
        contract, route_headers = _resolve_sub_service(contract, envelope, record, catalog)
    return contract, {
        **route_headers,
        "sid": record.sid,
        "client_ip": record.client_ip,
        "service_id": contract.service.id,
        "route": record.path,
    }


def _resolve_sub_service(
    contract: Contract, envelope: Mapping[str, Any], record: RequestRecord, catalog: Catalog
) -> tuple[Contract, dict[str, str]]:
    route = category.choose_sub_service(contract.service, envelope)
    if route is None:
        raise AseError(NO_SUB_SERVICE, "no category route fits")
    sub_contract = catalog.find(route.service_id)
    if sub_contract is None:
        raise AseError(NO_SUB_SERVICE, f"sub service not found: {route.service_id}")
    record.service, record.code_map = sub_contract.service.id, sub_contract.service.code_map
    return sub_contract, {"route_param": route.route_key, "routekey": route.route_key}
