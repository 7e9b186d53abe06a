"""The keys under which the records are kept in the store. Pure.

draft/PROJECT/GROUP/SERVICE/VERSION                Draft
release/PROJECT/GROUP/SERVICE/VERSION/NUMBER       Release, written once
publication/PROJECT/GROUP/SERVICE/VERSION          Publication
project/PROJECT                                    ProjectSettings
provider/PROJECT/GROUP/SERVICE/VERSION/ADDRESS     ProviderOverride
audit/TIME-NUMBER                                  AuditEntry, written once
"""

from typing import Final

from registry.names import ServiceVersion

DRAFT: Final = "draft/"
RELEASE: Final = "release/"
PUBLICATION: Final = "publication/"
PROJECT: Final = "project/"
PROVIDER: Final = "provider/"
AUDIT: Final = "audit/"


def draft_key(name: ServiceVersion) -> str:
    """Return the key of the draft of a version."""
    return f"{DRAFT}{name}"


def release_key(name: ServiceVersion, number: int) -> str:
    """Return the key of a release; keys sort by number."""
    return f"{RELEASE}{name}/{number:08d}"


def publication_key(name: ServiceVersion) -> str:
    """Return the key of the publication of a version."""
    return f"{PUBLICATION}{name}"


def project_key(project: str) -> str:
    """Return the key of the settings of a project."""
    return PROJECT + project


def provider_key(name: ServiceVersion, address: str) -> str:
    """Return the key of what an operator has said of a provider."""
    return f"{PROVIDER}{name}/{address}"


def audit_key(at: float, suffix: str) -> str:
    """Return the key of an audit entry; keys sort by time. `suffix` tells equal times apart."""
    return f"{AUDIT}{int(at * 1e6):017d}-{suffix}"


def parse_version_key(key: str) -> tuple[ServiceVersion, str]:
    """Return the version in a key, and what follows it: a number, an address or ""."""
    _, _, path = key.partition("/")
    parts = path.split("/", 4)
    return ServiceVersion(*parts[:4]), parts[4] if len(parts) > 4 else ""
