"""Counters of a hub since its start."""

from lb.hub.admission import RejectReason


class HubCounts:
    """Applied reports, rejected reports by reason, sent frames and the current overload level.

    `overload_level` is a gauge (`lb/hub/overload.py`); the others only grow.
    """

    def __init__(self) -> None:
        self.reports = self.frames = self.overload_level = 0
        self.rejections = dict.fromkeys(RejectReason, 0)

    def count_rejection(self, reason: RejectReason) -> None:
        """Count a rejected report."""
        self.rejections[reason] += 1
