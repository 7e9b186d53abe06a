"""What a hub counts since it began."""

from lb.trust import Refusal


class HubCounts:
    """Reports taken in, refused by reason; frames sent; the level of strain (`lb/strain.py`)."""

    def __init__(self) -> None:
        self.reports = self.frames = self.strain = 0
        self.refusals = dict.fromkeys(Refusal, 0)

    def refused(self, refusal: Refusal) -> None:
        """Count a report that was not taken in."""
        self.refusals[refusal] += 1
