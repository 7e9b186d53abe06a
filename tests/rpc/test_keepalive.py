"""When a silent peer is pinged, and when it is given up: a story each, with times."""

import pytest

from rpc.keepalive import CONSERVATIVE_KEEPALIVE, FREQUENT_KEEPALIVE, Keepalive, KeepaliveAction

WAIT, PING, DEAD = KeepaliveAction.WAIT, KeepaliveAction.PING, KeepaliveAction.DEAD


def run_checks(params: object, checks: list[tuple[float, float, int]]) -> list[KeepaliveAction]:
    keepalive = Keepalive(params)  # type: ignore[arg-type]
    keepalive.begin(0.0)
    return [
        keepalive.check(now, last_received, useful_frames)
        for now, last_received, useful_frames in checks
    ]


def test_frozen_peer_is_detected_within_three_seconds() -> None:
    keepalive, now, actions = Keepalive(FREQUENT_KEEPALIVE), 0.0, []
    keepalive.begin(now)
    while DEAD not in actions:
        now += keepalive.next_check_in(now)
        actions.append(keepalive.check(now, 0.0, 0))
    assert actions.count(PING) == 1
    assert now < 3.0


def test_silent_peer_that_answers_is_checked_twice_in_a_second() -> None:
    keepalive, now, checks, last_received = Keepalive(FREQUENT_KEEPALIVE), 0.0, 0, 0.0
    keepalive.begin(now)
    while now < 10:
        now += keepalive.next_check_in(now)
        checks += 1
        if keepalive.check(now, last_received, 0) is PING:
            last_received = now + 0.001
    assert checks == pytest.approx(20, abs=2)


def test_answering_peer_is_pinged_after_each_silence() -> None:
    assert run_checks(
        FREQUENT_KEEPALIVE, [(1.0, 0, 0), (1.1, 1.05, 0), (2.1, 1.05, 0), (2.2, 2.15, 0)]
    ) == [
        PING,
        WAIT,
        PING,
        WAIT,
    ]


def test_received_bytes_postpone_the_ping() -> None:
    assert run_checks(FREQUENT_KEEPALIVE, [(1.0, 0.9, 0), (1.8, 1.7, 1), (2.6, 2.5, 2)]) == [
        WAIT,
        WAIT,
        WAIT,
    ]


def test_conservative_keepalive_sends_two_pings_without_data() -> None:
    checks = [(5.0 * n, 5.0 * n - 4.9 if n % 2 else 5.0 * n - 5.0, 0) for n in range(1, 20)]
    assert run_checks(CONSERVATIVE_KEEPALIVE, checks).count(PING) == 2


def test_useful_frame_resets_the_ping_count() -> None:
    checks = [(5.0, 0.0, 0), (5.1, 5.1, 0), (10.2, 5.1, 0), (10.3, 10.3, 0), (16.0, 10.3, 0),
             (17.0, 16.9, 1), (22.0, 16.9, 1)]  # fmt: skip
    assert run_checks(CONSERVATIVE_KEEPALIVE, checks) == [PING, WAIT, PING, WAIT, WAIT, WAIT, PING]


def test_conservative_keepalive_gives_up_late() -> None:
    assert run_checks(CONSERVATIVE_KEEPALIVE, [(5.0, 0, 0), (24.9, 0, 0), (25.0, 0, 0)]) == [
        PING,
        WAIT,
        DEAD,
    ]
