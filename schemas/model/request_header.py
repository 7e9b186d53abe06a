"""The header of a request: the members that the gateway itself reads, as a schema names them. Pure.

The gateway reads the app id, under one of two names, and the status of a frame. A schema may
declare them with rules of its own. Clients send only what the schema declares, because the header
of a schema is usually closed.
"""

from typing import Any, Final

from schemas.model.service import Service, member_schema
from schemas.model.session import FrameStatus

APP_ID_NAMES: Final = ("app_id", "appid")


def app_id_names(service: Service) -> tuple[str, ...]:
    """Return the header members in which a request gives its app id, at least one.

    These are the ones that the schema requires; if it requires none, the first that it declares; if
    it declares none, `app_id`.
    """
    required = required_names(service)
    names = tuple(name for name in APP_ID_NAMES if name in required)
    declared = (name for name in APP_ID_NAMES if _declares(service, name))
    return names or (next(declared, APP_ID_NAMES[0]),)


def required_names(service: Service) -> tuple[str, ...]:
    """Return the header members that the schema requires."""
    required = (member_schema(service.input, "header") or {}).get("required")
    return tuple(map(str, required)) if isinstance(required, list) else ()


def build_header(service: Service, app_id: str) -> dict[str, Any]:
    """Return the header of a request in one frame, with the app id and the status if declared."""
    return dict.fromkeys(app_id_names(service), app_id) | build_status(service)


def build_status(service: Service) -> dict[str, Any]:
    """Return the status of a request in one frame, as a member of the header, if declared."""
    return {"status": int(FrameStatus.ONCE)} if _declares(service, "status") else {}


def default_status(service: Service) -> dict[str, Any]:
    """Return the status of a request in one frame that left it out; {} if there is none.

    There is none if the schema requires the status, as those of the original do, or if its enum
    does not allow the one of a single frame.
    """
    status = build_status(service)
    enum = (member_schema(service.input, "header", "status") or {}).get("enum")
    is_allowed = not isinstance(enum, list) or any(value in enum for value in status.values())
    return status if is_allowed and "status" not in required_names(service) else {}


def _declares(service: Service, name: str) -> bool:
    return member_schema(service.input, "header", name) is not None
