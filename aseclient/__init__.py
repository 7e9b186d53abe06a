"""Calls positions of an edge: `Client` and, with `await`, `AsyncClient`. Needs httpx alone.

from aseclient import Client

with Client("http://edge:8200", "battery", token, name="uav-1") as client:
    charge = client.infer("north", [3.7, 3.6])
"""

from aseclient.async_client import AsyncClient
from aseclient.client import Client
from aseclient.errors import (
    CredentialError,
    InferenceError,
    InputRefusedError,
    UnavailableError,
)

__all__ = [
    "AsyncClient",
    "Client",
    "CredentialError",
    "InferenceError",
    "InputRefusedError",
    "UnavailableError",
]
