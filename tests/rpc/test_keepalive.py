"""When a silent peer is pinged, and when it is given up: a story each, with times."""

from rpc.keepalive import CONSERVATIVE_KEEPALIVE, FREQUENT_KEEPALIVE, Keepalive, KeepaliveAction

WAIT, PING, DEAD = KeepaliveAction.WAIT, KeepaliveAction.PING, KeepaliveAction.DEAD


def watched(manner: object, steps: list[tuple[float, float, int]]) -> list[KeepaliveAction]:
    keepalive = Keepalive(manner)  # type: ignore[arg-type]
    keepalive.begin(0.0)
    return [keepalive.check(now, heard, useful) for now, heard, useful in steps]


def test_a_frozen_peer_of_ours_is_found_within_three_seconds() -> None:
    keepalive, now, said = Keepalive(FREQUENT_KEEPALIVE), 0.0, []
    keepalive.begin(now)
    while DEAD not in said:
        now += keepalive.check_interval
        said.append(keepalive.check(now, 0.0, 0))
    assert said.count(PING) == 1
    assert now < 3.0


def test_one_that_answers_is_asked_again_after_each_silence() -> None:
    assert watched(
        FREQUENT_KEEPALIVE, [(1.0, 0, 0), (1.1, 1.05, 0), (2.1, 1.05, 0), (2.2, 2.15, 0)]
    ) == [
        PING,
        WAIT,
        PING,
        WAIT,
    ]


def test_bytes_of_any_kind_put_the_question_off() -> None:
    assert watched(FREQUENT_KEEPALIVE, [(1.0, 0.9, 0), (1.8, 1.7, 1), (2.6, 2.5, 2)]) == [
        WAIT,
        WAIT,
        WAIT,
    ]


def test_another_s_server_is_asked_twice_in_one_silence_and_no_more() -> None:
    steps = [(5.0 * n, 5.0 * n - 4.9 if n % 2 else 5.0 * n - 5.0, 0) for n in range(1, 20)]
    assert watched(CONSERVATIVE_KEEPALIVE, steps).count(PING) == 2


def test_a_frame_that_brings_something_ends_the_silence() -> None:
    steps = [(5.0, 0.0, 0), (5.1, 5.1, 0), (10.2, 5.1, 0), (10.3, 10.3, 0), (16.0, 10.3, 0),
             (17.0, 16.9, 1), (22.0, 16.9, 1)]  # fmt: skip
    assert watched(CONSERVATIVE_KEEPALIVE, steps) == [PING, WAIT, PING, WAIT, WAIT, WAIT, PING]


def test_a_server_of_another_that_never_answers_is_given_up_late() -> None:
    assert watched(CONSERVATIVE_KEEPALIVE, [(5.0, 0, 0), (24.9, 0, 0), (25.0, 0, 0)]) == [
        PING,
        WAIT,
        DEAD,
    ]
