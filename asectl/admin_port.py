"""What the commands share that change something by an admin port."""

from typing import Any

import httpx

from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, Failure
from asectl.progress import progress
from asectl.table import printable


def post(admin: HttpTarget, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON object that an admin port answers a POST of `body` with.

    Raises Failure: exit code 1 if the gateway refuses, 4 if it does not answer as one.
    """
    try:
        with admin.client() as client, progress(lambda: f"waiting for {admin.url}"):
            response = client.post(path, json=body)
        content = response.json()
        if response.status_code == 200:
            return dict(content)
        reason = printable("; ".join(filter(None, (content["error"], content.get("cure")))))
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
        message = f"{admin.url}: does not answer as an admin port does ({error})"
        raise Failure(message, EXIT_UNREACHABLE) from None
    raise Failure(f"{admin.url}: {reason}", EXIT_FAILED)
