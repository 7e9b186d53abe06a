"""The form and the caller of a request: content type, app id, affinity key. Pure: no I/O."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.request.response import HttpError
from schemas.model.errors import BAD_APP, AseError

_APP_IDS: Final = ("app_id", "appid")


def check_content_headers(headers: Mapping[bytes, bytes]) -> None:
    """Reject a body that is not plain `application/json` in UTF-8.

    `headers` have lower-case names. Raises HttpError 415.
    """
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json":
        _check_media_type(content_type.decode("latin-1"))
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise HttpError(415, "content-encoding is not accepted; send the body as it is")


def check_length(headers: Mapping[bytes, bytes], limit: int) -> None:
    """Reject a Content-Length of more than `limit` bytes before the body is read.

    Raises HttpError 413.
    """
    length = headers.get(b"content-length")
    if length is not None and int(length) > limit:
        raise HttpError(413, f"body is larger than {limit} bytes")


def _check_media_type(content_type: str) -> None:
    media_type, *parameters = content_type.split(";")
    parameter_values = dict(
        parameter.strip().lower().partition("=")[::2] for parameter in parameters
    )
    charset = parameter_values.get("charset", "").strip('"')
    if media_type.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise HttpError(415, "content-type must be application/json, in UTF-8")


def check_app_id(
    body: dict[str, Any], headers: Mapping[bytes, bytes], consumer_header: str
) -> None:
    """Reject an envelope without an app id (`app_id`, or the older `appid`) or with a wrong one.

    Raises AseError 10313: status 400 if there is no app id, 403 if it differs from the caller that
    the proxy in front of the gateway names in `consumer_header`. An empty `consumer_header` turns
    the second check off.
    """
    header = body.get("header")
    app_ids: list[Any] = []
    if isinstance(header, dict):
        app_ids = [header[name] for name in _APP_IDS if name in header]
    if not app_ids or not (
        type(app_ids[0]) is str and app_ids[0] and type(app_ids[-1]) is str and app_ids[-1]
    ):
        raise AseError(BAD_APP, "$.header.app_id: appid cannot be empty")
    if not consumer_header:
        return
    consumer = headers.get(consumer_header.lower().encode(), b"")
    if consumer and any(app_id != consumer.decode("latin-1") for app_id in app_ids):
        raise HttpError(403, "app_id and api_key does not match", BAD_APP)


def affinity_key(body: dict[str, Any], path: tuple[str, ...]) -> str:
    """Return the string or integer at a path of object members, as text; "" if there is none."""
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
