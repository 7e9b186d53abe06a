"""An application of somebody else on a Ray cluster."""

from ray import serve


@serve.deployment
class Theirs:
    """Answers."""

    async def __call__(self) -> str:
        """Return something."""
        return "theirs"


application = Theirs.bind()
