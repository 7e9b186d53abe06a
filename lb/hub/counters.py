"""What a hub counts since it began."""

from lb.hub.admission import RejectReason


class HubCounts:
    """Reports accepted and rejected by reason, frames sent, the overload level."""

    def __init__(self) -> None:
        self.reports = self.frames = self.overload_level = 0
        self.rejections = dict.fromkeys(RejectReason, 0)

    def count_rejection(self, reason: RejectReason) -> None:
        """Count a report that was not taken in."""
        self.rejections[reason] += 1
