"""The shimlets that there are: those built in, and those of other packages."""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Final

from deploy.shimlets.interface import Shimlet

# Other packages name a class, or a function, by an entry point of this group; called without
# arguments it returns a `Shimlet`.
GROUP: Final = "athena_serving.shimlets"

CreateShimlet = Callable[[], Shimlet]


class ShimletLoadError(Exception):
    """A shimlet of another package cannot be loaded; `str()` says which, and why."""


def load_shimlets(built_in: Mapping[str, CreateShimlet]) -> dict[str, Shimlet]:
    """Return all shimlets by name. Raises ShimletLoadError."""
    shimlets = {name: create() for name, create in built_in.items()}
    for point in entry_points(group=GROUP):
        try:
            create: CreateShimlet = point.load()
            shimlets[point.name] = create()
        except Exception as error:
            raise ShimletLoadError(f"shimlet {point.name} of {point.value}: {error}") from error
    return shimlets
