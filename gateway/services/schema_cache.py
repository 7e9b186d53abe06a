"""The schemas that loaders brought, on disk: known again after a restart without the hub.

A gateway that starts while its hub is away then answers the requests of the services it knew with
503, and a client tries again, instead of 404.
"""

import logging
import secrets
from collections.abc import Mapping
from pathlib import Path

from config.options import ServiceOptions
from gateway.services.catalog import MAX_SERVICES, Contract, build_contract
from schemas.model.document import DocumentError

_logger = logging.getLogger("ase.gateway")


class SchemaCache:
    """One file, `SERVICE.json`, for each service whose schema a loader brought.

    `folder` is created when the first schema is stored. Several gateways may share it. What cannot
    be read or written is logged, and does not stop the gateway. The operator removes the file of a
    service that is gone for ever.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(
        self, services: Mapping[str, ServiceOptions], default_deadline: float
    ) -> list[Contract]:
        """Return the contracts of the stored schemas, at most MAX_SERVICES (`build_contract`)."""
        contracts: list[Contract] = []
        for path in sorted(self._folder.glob("*.json"))[:MAX_SERVICES]:
            try:
                text = path.read_bytes()
                contracts.append(build_contract(text, "report", services, default_deadline))
            except (OSError, DocumentError) as error:
                fields = {"file": str(path), "reason": str(error)}
                _logger.warning("stored schema ignored", extra=fields)
        return contracts

    def store(self, service_id: str, schema_document: bytes) -> None:
        """Store the schema of a service in place of an older one, in one step."""
        path = self._folder / f"{service_id}.json"
        # Of its own name: gateways in containers have the same process ids.
        temporary = self._folder / f".{service_id}.{secrets.token_hex(8)}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(schema_document)
            temporary.replace(path)
        except OSError as error:
            fields = {"file": str(path), "reason": str(error)}
            _logger.error("schema not stored", extra=fields)  # noqa: TRY400
