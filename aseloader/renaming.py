"""Serves a wrapper under another service id than the one it declares."""

from aseloader.wrapper import Wrapper
from schemas.model import document


def as_service(wrapper_class: type[Wrapper], service: str) -> type[Wrapper]:
    """Return the class of a wrapper for `service`; the class itself if that is empty or its own."""
    if service in ("", wrapper_class.service):
        return wrapper_class
    attributes: dict[str, object] = {
        "service": service,
        "__doc__": wrapper_class.__doc__,
        "__module__": wrapper_class.__module__,
    }
    own_document: bytes = getattr(wrapper_class, "__ase_schema__", b"")
    if own_document:
        tree = document.parse(own_document)
        tree["meta"] = {**tree["meta"], "serviceId": service}
        attributes["__ase_schema__"] = document.canonical(tree)
    return type(wrapper_class.__name__, (wrapper_class,), attributes)
