"""Limits over several gateways: gateways and hub in virtual time, without connections."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.identity import CallerLimits, Identity
from gateway.access.leases import MANY_INTERVAL_S, LimitShares
from gateway.access.limits import MAX_SHARED_KEYS, UsageLimiter
from gateway.access.meters import Admission, LimitExceededError
from lb.hub.leases import GATEWAY_TTL_S, LEASE_S, LimitLeases
from schemas.model.errors import QUOTA_USED, RATE_LIMITED
from schemas.wire import LeaseRequest

WALL = 1_800_000_000.0


class Fleet:
    """Gateways that share the limits of a key, and of a service "ocr", by one hub.

    `now` is the time of all clocks. Each gateway exchanges its leases when `exchange` is called.
    """

    def __init__(
        self,
        count: int,
        key: CallerLimits = CallerLimits(),  # noqa: B008 (it is frozen)
        service: CallerLimits = CallerLimits(),  # noqa: B008
        licences: int = 0,
        apps: tuple[str, ...] = (),
    ) -> None:
        self.now = 1000.0
        self.hub = LimitLeases()
        self.identity = Identity("app", "k1", method="key", limits=key)
        self.limiters = [
            UsageLimiter(
                dict.fromkeys(apps, CallerLimits()),
                {"ocr": service},
                lambda: self.now,
                lambda: WALL + self.now - 1000.0,
                licences={"asr": licences} if licences else {},
            )
            for _ in range(count)
        ]
        self.shares = [
            LimitShares(limiter, f"g{number}", lambda: self.now)
            for number, limiter in enumerate(self.limiters)
        ]
        self.running: list[tuple[int, Admission]] = []
        self.offered = 0
        for _ in range(3):
            self.exchange_all()

    def exchange(self, number: int) -> None:
        shares = self.shares[number]
        shares.apply(self.hub.exchange(shares.request(), self.now))

    def exchange_all(self) -> None:
        for number in range(len(self.shares)):
            self.exchange(number)

    def send(self, number: int, service: str = "other") -> bool:
        """Send a request to a gateway; return whether it is admitted. It runs until `end`."""
        try:
            admission = self.limiters[number].admit(self.identity, service)
        except LimitExceededError:
            return False
        self.running.append((number, admission))
        return True

    def end(self, position: int) -> None:
        self.running.pop(position)[1].release()

    def run(self, seconds: float, rates: list[float], *, hub_is_up: bool = True) -> int:
        """Send to each gateway at its rate; requests end at once. Return how many are admitted."""
        admitted, step = 0, 0.001
        due = [0.0] * len(rates)
        for tick in range(round(seconds / step)):
            self.now += step
            for number, rate in enumerate(rates):
                due[number] += rate * step
                while due[number] >= 1.0:
                    due[number] -= 1.0
                    self.offered += 1
                    if self.send(number):
                        admitted += 1
                        self.end(-1)
                if hub_is_up and tick % 100 == 30 * number:
                    self.exchange(number)
        return admitted


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    ("rates", "burst"),
    [
        ([333.0, 333.0, 334.0], 0),
        ([333.0, 333.0, 334.0], 1),
        ([900.0, 90.0, 10.0], 20),
        ([1000.0, 0.0, 0.0], 1),
        ([30.0, 970.0, 0.0], 20),
    ],
    ids=str,
)
def test_rate_holds_over_gateways(rates: list[float], burst: int) -> None:
    """100 requests per second of 1,000 that are offered, within 2 %."""
    fleet = Fleet(3, CallerLimits(rate=100.0, burst=burst))
    first = fleet.run(1.0, rates)
    # A burst, a second's requests, and what gateways admit before their first lease.
    assert first <= (burst or 100) + 100 + 100 / 3
    assert 980 <= fleet.run(10.0, rates) <= 1020


def test_gateway_alone_counts_by_itself() -> None:
    fleet = Fleet(1, CallerLimits(rate=100.0, burst=5))
    assert [fleet.send(0) for _ in range(7)] == [True] * 5 + [False] * 2
    fleet.exchange(0)
    assert not fleet.send(0)
    fleet.now += 0.01
    assert fleet.send(0)


def test_low_demand_is_never_refused() -> None:
    """Callers that stay below the limit do not notice that it is shared."""
    fleet = Fleet(3, CallerLimits(rate=100.0))
    assert fleet.run(20.0, [50.0, 20.0, 10.0]) == fleet.offered


def test_burst_comes_through_one_gateway() -> None:
    """At once a half of it, and a half of the rest at each exchange: another may need it."""
    fleet = Fleet(3, CallerLimits(rate=10.0, burst=60))
    fleet.send(0)
    fleet.exchange(0)
    admitted = []
    for _ in range(5):
        admitted.append(sum(fleet.send(0) for _ in range(60)))
        fleet.exchange(0)
    assert admitted[0] >= 29
    assert 55 <= sum(admitted) <= 60


@pytest.mark.unmeasured
def test_rate_without_the_hub_is_the_last_share() -> None:
    fleet = Fleet(3, CallerLimits(rate=100.0))
    rates = [600.0, 300.0, 100.0]
    fleet.run(5.0, rates)
    fleet.now += LEASE_S
    for shares in fleet.shares:
        shares.expire()
    fleet.run(3.0, rates, hub_is_up=False)  # each has used its burst
    assert 950 <= fleet.run(10.0, rates, hub_is_up=False) <= 1050
    fleet.run(3.0, rates)
    assert 950 <= fleet.run(10.0, rates) <= 1050, "the hub is back"


def check_that_slots_are_never_exceeded(
    fleet: Fleet, rng: random.Random, service: str, limit: int
) -> None:
    """Send, end and exchange in any order; then let one gateway use all slots."""
    count = len(fleet.limiters)
    for _ in range(300):
        action = rng.random()
        if action < 0.4:
            fleet.send(rng.randrange(count), service)
        elif action < 0.6 and fleet.running:
            fleet.end(rng.randrange(len(fleet.running)))
        else:
            fleet.exchange(rng.randrange(count))
        assert len(fleet.running) <= limit
    for _ in range(2 * limit + 2):
        for _ in range(3):
            fleet.exchange_all()
        fleet.send(0, service)
    assert len(fleet.running) == limit, "one gateway may use all of it"


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 4))
def test_concurrency_of_a_service_is_never_exceeded(seed: int, limit: int, count: int) -> None:
    rng = random.Random(seed)
    fleet = Fleet(count, service=CallerLimits(concurrency=limit))
    check_that_slots_are_never_exceeded(fleet, rng, "ocr", limit)


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(2, 4), st.booleans())
def test_licences_are_never_exceeded(
    seed: int, licences: int, count: int, is_configured: bool
) -> None:
    """Not even at the first request of an application that no gateway knows."""
    rng = random.Random(seed)
    fleet = Fleet(count, licences=licences, apps=("app",) * is_configured)
    check_that_slots_are_never_exceeded(fleet, rng, "asr", licences)


def test_application_of_the_configuration_has_licences_in_advance() -> None:
    assert not Fleet(2, licences=4).send(1, "asr"), "until the hub has answered"
    assert Fleet(2, licences=4, apps=("app",)).send(1, "asr")


@pytest.mark.unmeasured
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 4))
def test_quota_of_a_service_is_used_exactly(seed: int, quota: int, count: int) -> None:
    rng = random.Random(seed)
    fleet = Fleet(count, service=CallerLimits(quota=quota))
    admitted = 0
    for _ in range(3 * quota):
        for number in rng.sample(range(count), count):
            admitted += fleet.send(number, "ocr")
        assert admitted <= quota
        fleet.exchange(rng.randrange(count))
    for _ in range(3):
        for number in range(count):
            fleet.exchange_all()
            admitted += fleet.send(number, "ocr")
    assert admitted == quota


def test_quota_of_which_others_have_the_rest_is_not_used_up() -> None:
    """Retry-After is a moment, not the end of the day."""
    fleet = Fleet(2, service=CallerLimits(quota=10))
    while fleet.send(0, "ocr"):
        pass
    refusals = []
    for _ in range(2):
        with pytest.raises(LimitExceededError) as caught:
            fleet.limiters[0].admit(fleet.identity, "ocr")
        refusals.append((caught.value.spec, caught.value.retry_after > 1))
        for _ in range(9):
            fleet.exchange_all()
            fleet.send(0, "ocr")
    assert len(fleet.running) == 10
    assert refusals == [(RATE_LIMITED, False), (QUOTA_USED, True)]


def test_quota_begins_again_with_its_period() -> None:
    fleet = Fleet(2, service=CallerLimits(quota=10))
    for _ in range(20):
        fleet.send(0, "ocr")
        fleet.exchange_all()
    assert not fleet.send(0, "ocr")
    fleet.now += 86_400.0
    for _ in range(2):
        fleet.send(0, "ocr")
        fleet.send(1, "ocr")
        fleet.exchange_all()
    assert fleet.send(0, "ocr")


def test_quota_of_another_period_is_shared_anew() -> None:
    fleet = Fleet(2, service=CallerLimits(quota=10, quota_days=30))
    for _ in range(20):
        fleet.send(0, "ocr")
        fleet.exchange_all()
    assert not fleet.send(0, "ocr")
    for limiter in fleet.limiters:
        limiter.set_limits({}, {"ocr": CallerLimits(quota=6)}, {})
    fleet.exchange_all()
    admitted = 0
    for _ in range(20):
        admitted += fleet.send(0, "ocr") + fleet.send(1, "ocr")
        fleet.exchange_all()
    assert admitted == 6


def test_lost_gateway_gives_its_lease_back_after_a_while() -> None:
    fleet = Fleet(2, service=CallerLimits(concurrency=4))
    assert [fleet.send(0, "ocr") for _ in range(3)] == [True, True, False]
    fleet.now += GATEWAY_TTL_S - 0.1
    fleet.exchange(0)
    assert not fleet.send(0, "ocr"), "the other may be in use"
    fleet.now += 0.2
    fleet.exchange(0)
    assert [fleet.send(0, "ocr") for _ in range(3)] == [True, True, False]


def test_new_hub_respects_what_gateways_hold() -> None:
    fleet = Fleet(2, service=CallerLimits(concurrency=4))
    fleet.hub = LimitLeases()
    fleet.exchange(0)
    fleet.exchange(1)
    fleet.exchange(0)
    for number in (0, 1):
        while fleet.send(number, "ocr"):
            pass
    assert len(fleet.running) == 4


def test_keys_beyond_the_limit_have_an_even_share() -> None:
    fleet = Fleet(2)
    limits = CallerLimits(rate=100.0)
    for number in range(MAX_SHARED_KEYS + 1):
        fleet.now += 0.001
        fleet.limiters[0].admit(Identity("app", f"k{number}", method="key", limits=limits), "x")
    fleet.exchange_all()
    meters = fleet.limiters[0].shared_meters()
    assert len(meters) == MAX_SHARED_KEYS + 1, "and the service"
    assert fleet.shares[0].interval() == MANY_INTERVAL_S
    assert "key k0" not in {meter.name for meter in meters}, "the one that was used first"
    first = Identity("app", "k0", method="key", limits=limits)
    admitted = 0
    with contextlib.suppress(LimitExceededError):
        while True:
            fleet.limiters[0].admit(first, "x")
            admitted += 1
    assert 49 <= admitted <= 50


def test_any_name_and_any_limit_can_be_exchanged() -> None:
    """One caller with an odd app id must not end the sharing of limits for all."""
    fleet = Fleet(2, service=CallerLimits(concurrency=10**12), licences=3)
    fleet.identity = Identity("a\ud800", "k\udfff", method="jwt", limits=CallerLimits(1.0, 10**12))
    fleet.send(0, "asr")
    fleet.send(0, "other")
    fleet.exchange_all()
    request = fleet.shares[0].request()
    assert LeaseRequest.FromString(request.SerializeToString()) == request
    assert {"app a? of service asr", "key k?"} <= {use.name for use in request.uses}
