"""The paths of the methods of `registry.v1.Registry`. Values only."""

from typing import Final

SERVICE: Final = "/registry.v1.Registry/"
SUBSCRIBE: Final = SERVICE + "Subscribe"
FETCH: Final = SERVICE + "Fetch"
PROVIDE: Final = SERVICE + "Provide"
DISCOVER: Final = SERVICE + "Discover"
