"""Comparisons: the interval as it was published, and what is decided by which figures."""

import pytest

from deploy.workloads.comparison import (
    Judgement,
    RequestOutcome,
    compare,
    difference_interval,
    outcome_since,
)


@pytest.mark.parametrize(
    ("new", "old", "interval"),
    [  # of Newcombe (1998), table II, method 10
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((6, 7), (2, 7), (0.0582, 0.8062)),
        ((5, 56), (0, 29), (-0.0381, 0.1926)),
        ((0, 10), (0, 20), (-0.1611, 0.2775)),
        ((10, 10), (0, 20), (0.6791, 1.0000)),
        ((10, 10), (0, 10), (0.6075, 1.0000)),
    ],
)
def test_interval_is_that_of_the_paper(
    new: tuple[int, int], old: tuple[int, int], interval: tuple[float, float]
) -> None:
    low, high = difference_interval(
        RequestOutcome(old[1], old[0]), RequestOutcome(new[1], new[0]), 1.959963984540054
    )
    assert (low, high) == pytest.approx(interval, abs=0.0001)


def test_nothing_is_known_without_requests() -> None:
    assert difference_interval(RequestOutcome(), RequestOutcome(5, 1), 1.96) == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("old", "new", "judgement", "text"),
    [
        (
            RequestOutcome(5000, 5),
            RequestOutcome(199, 0),
            Judgement.UNDECIDED,
            "200 of each are wanted",
        ),
        (
            RequestOutcome(19, 0),
            RequestOutcome(5000, 0),
            Judgement.UNDECIDED,
            "200 of each are wanted",
        ),
        (
            RequestOutcome(5000, 5, 10.0),
            RequestOutcome(2000, 2, 11.0),
            Judgement.GOOD,
            "takes 11.0 ms",
        ),
        (
            RequestOutcome(400, 4),
            RequestOutcome(400, 4),
            Judgement.UNDECIDED,
            "1.00% more is tolerated",
        ),
        (
            RequestOutcome(400, 0),
            RequestOutcome(400, 40),
            Judgement.WORSE,
            "40 of 400 requests failed (10.00%)",
        ),
        (RequestOutcome(30, 0), RequestOutcome(30, 15), Judgement.WORSE, "(99.9 %)"),
        (RequestOutcome(4, 0), RequestOutcome(4, 4), Judgement.UNDECIDED, "are wanted"),
        (RequestOutcome(900, 0), RequestOutcome(5, 5), Judgement.WORSE, "5 of 5 requests"),
        (
            RequestOutcome(5000, 0, 10.0),
            RequestOutcome(5000, 0, 18.0),
            Judgement.WORSE,
            "takes 18.0 ms",
        ),
        (
            RequestOutcome(5000, 0, 1.0),
            RequestOutcome(5000, 0, 2.9),
            Judgement.GOOD,
            "takes 2.9 ms",
        ),
        (RequestOutcome(5000, 0, 0.0), RequestOutcome(5000, 0, 18.0), Judgement.GOOD, ""),
        (RequestOutcome(5000, 500), RequestOutcome(5000, 5), Judgement.GOOD, "-9"),
    ],
)
def test_revision_is_judged_by_its_failures_and_its_time(
    old: RequestOutcome, new: RequestOutcome, judgement: Judgement, text: str
) -> None:
    comparison = compare(old, new, requests=200, tolerance=0.01, slowdown=1.5)
    assert comparison.judgement is judgement
    assert text in comparison.text


def test_what_was_answered_before_does_not_count() -> None:
    before = {("a:1", 7): RequestOutcome(100, 10, 5.0), ("b:1", 7): RequestOutcome(50, 5, 5.0)}
    now = {
        ("a:1", 7): RequestOutcome(160, 11, 10.0),
        ("b:1", 8): RequestOutcome(20, 2, 20.0),  # it was started again
        ("c:1", 9): RequestOutcome(20, 0, 0.0),
    }
    assert outcome_since(before, now) == RequestOutcome(100, 3, 10.0)
    assert outcome_since({}, {}) == RequestOutcome()
    assert RequestOutcome().error_share == 0.0
