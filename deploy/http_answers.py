"""What the handlers of the deployer's HTTP API share: bodies in, answers and refusals out."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from deploy.engine.commands import DeploymentConflictError, DeploymentNotFoundError
from deploy.shimlets.interface import ShimletError
from deploy.workloads.members import InvalidMemberError
from deploy.workloads.spec import InvalidSpecError
from registry.errors import Refusal, RegistryError
from registry.store.interfaces import StoreError

_MAX_BODY_BYTES: Final = 256 * 1024

Handler = Callable[[Request], Awaitable[Response]]


class ApiError(Exception):
    """A request that is refused."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def guarded(handler: Handler) -> Handler:
    """Return the handler with its refusals as answers."""

    async def call(request: Request) -> Response:
        try:
            return await handler(request)
        except ApiError as error:
            return error_answer(error.status, str(error))
        except (InvalidSpecError, InvalidMemberError) as error:
            return error_answer(400, str(error))
        except DeploymentNotFoundError as error:
            return error_answer(404, str(error))
        except DeploymentConflictError as error:
            return error_answer(409, str(error))
        except RegistryError as error:
            statuses = {Refusal.UNAUTHENTICATED: 401, Refusal.FORBIDDEN: 403}
            return error_answer(statuses.get(error.kind, 400), str(error))
        except (StoreError, ShimletError) as error:
            return error_answer(503, str(error))

    return call


def answer(data: Any, message: str = "success") -> Response:
    """Return the answer of a request that was done, or begun."""
    return JSONResponse({"code": 0, "message": message, "data": data})


def error_answer(status: int, message: str) -> Response:
    """Return the answer of a request that is refused, with its HTTP status."""
    return JSONResponse({"code": status, "message": message, "data": None}, status)


def time_text(at: float) -> str:
    """Return a Unix time as the seed writes it, in UTC; "" for 0."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def whole_number(text: str, name: str, most: int) -> int:
    """Return the number of a query parameter or header. Raises ApiError."""
    if not text.isdecimal() or len(text) > 20 or int(text) > most:
        raise ApiError(400, f"{name}: must be a whole number, {most} at most")
    return int(text)


async def read_json(request: Request) -> Any:
    """Return the body of a request. Raises ApiError."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip()
    if content_type != "application/json":
        # A page of another site can send other types without asking (the Fetch standard, CORS).
        raise ApiError(415, "content-type: must be application/json")
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                raise ApiError(413, f"the body has more than {_MAX_BODY_BYTES} bytes")
    except ClientDisconnect:
        raise ApiError(400, "the body ends too early") from None
    try:
        tree = json.loads(body)
        json.dumps(tree, ensure_ascii=False).encode()  # half of a surrogate pair cannot be kept
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is no JSON: {error}") from None
    return tree
