"""What hubs would know of shares: in memory, or out of reach."""

from collections.abc import Callable, Mapping


class FakeTraffic:
    """Keeps the shares that were settled last; while `problem` is set no hub can be reached."""

    def __init__(self) -> None:
        self.get_shares: Callable[[], Mapping[str, float]] = dict
        self.settled: list[Mapping[str, float]] = []
        self.problem = ""

    def notify(self) -> None:
        """Keep what hubs would be told."""
        if not self.problem:
            self.settled.append(self.get_shares())

    async def settle(self) -> str:
        """Have the shares known; see `Traffic`."""
        self.notify()
        return self.problem
