"""Who asks, and in which form: content type and app id. Pure."""

from collections.abc import Mapping
from typing import Any

from gateway.answers import HttpError
from schemas.errors import BAD_APP, AseError


def check_content(headers: Mapping[str, str]) -> None:
    """Refuse a body in another form than plain `application/json`.

    Raises HttpError 415.
    """
    kind, *parameters = headers.get("content-type", "").split(";")
    named = dict(parameter.strip().lower().partition("=")[::2] for parameter in parameters)
    charset = named.get("charset", "").strip('"')
    if kind.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
        raise HttpError(415, "content-type must be application/json, in UTF-8")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(415, "content-encoding is not accepted; send the body as it is")


def check_app_id(body: Mapping[str, Any], headers: Mapping[str, str], consumer_header: str) -> None:
    """Refuse an envelope without an app id (`app_id`, or the older `appid`), or with another's.

    Raises AseError 10313: 400 when there is none, 403 when the proxy before us named another
    caller in `consumer_header`.
    """
    header = body.get("header")
    told = (
        [header[name] for name in ("app_id", "appid") if name in header]
        if isinstance(header, dict)
        else []
    )
    if not told or not all(isinstance(app_id, str) and app_id for app_id in told):
        raise AseError(BAD_APP, "$.header.app_id: appid cannot be empty")
    consumer = headers.get(consumer_header.lower(), "") if consumer_header else ""
    if consumer and any(app_id != consumer for app_id in told):
        raise HttpError(403, "app_id and api_key does not match", BAD_APP)
