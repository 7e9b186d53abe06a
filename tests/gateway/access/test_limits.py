"""Whose limits hold for a request: those of its key, its application and its service."""

from dataclasses import replace

import pytest

from config.options import AppOptions, ServiceOptions
from gateway.access.identity import ANONYMOUS, NO_LIMITS, CallerLimits, Identity, limits_of
from gateway.access.limits import UsageLimiter
from gateway.access.meters import NO_ADMISSION, LimitExceededError, MeterLease

TWO = CallerLimits(concurrency=2)
KEY = Identity("shop", "k1", method="key", limits=TWO)


def limiter(
    apps: dict[str, CallerLimits] | None = None, services: dict[str, CallerLimits] | None = None
) -> UsageLimiter:
    return UsageLimiter(apps or {}, services or {}, lambda: 0.0, lambda: 0.0)


def test_request_without_limits_costs_nothing() -> None:
    assert limiter().admit(ANONYMOUS, "probe") is NO_ADMISSION
    assert limiter({"shop": TWO}, {"ocr": TWO}).admit(ANONYMOUS, "probe") is NO_ADMISSION


def test_each_key_has_its_own_limits() -> None:
    limits = limiter()
    other = replace(KEY, key_id="k2")
    admissions = [limits.admit(KEY, "probe") for _ in range(2)]
    limits.admit(other, "probe")
    with pytest.raises(LimitExceededError, match="key k1 has 2 requests in progress"):
        limits.admit(KEY, "probe")
    admissions[0].release()
    limits.admit(KEY, "probe")


def test_keys_of_an_application_share_its_limits() -> None:
    limits = limiter({"shop": TWO})
    plain = [Identity("shop", key_id, method="key") for key_id in ("k1", "k2")]
    for identity in plain:
        limits.admit(identity, "probe")
    with pytest.raises(LimitExceededError, match="app shop has 2"):
        limits.admit(plain[0], "probe")
    limits.admit(Identity("other", "k3", method="key"), "probe")


def test_application_that_is_only_claimed_has_no_limits() -> None:
    """Else anyone could use up what belongs to another."""
    limits = limiter({"shop": CallerLimits(concurrency=1)})
    for _ in range(3):
        assert limits.admit(replace(ANONYMOUS, app_id="shop"), "probe") is NO_ADMISSION


def test_all_callers_share_the_limits_of_a_service() -> None:
    limits = limiter(services={"ocr": TWO})
    limits.admit(ANONYMOUS, "ocr")
    limits.admit(Identity("shop", "k1", method="key"), "ocr")
    with pytest.raises(LimitExceededError, match="service ocr has 2"):
        limits.admit(ANONYMOUS, "ocr")
    limits.admit(ANONYMOUS, "asr")


def test_refusal_by_one_limit_counts_for_none() -> None:
    limits = limiter({"shop": CallerLimits(rate=1.0)}, {"ocr": CallerLimits(concurrency=1)})
    identity = Identity("shop", "k1", method="key")
    running = limits.admit(ANONYMOUS, "ocr")
    for _ in range(5):
        with pytest.raises(LimitExceededError, match="service ocr"):
            limits.admit(identity, "ocr")
    running.release()
    limits.admit(identity, "ocr")


def test_changed_limits_of_a_key_hold_at_once() -> None:
    limits = limiter()
    limits.admit(KEY, "probe")
    narrow = replace(KEY, limits=CallerLimits(concurrency=1))
    with pytest.raises(LimitExceededError, match="has 1 requests in progress"):
        limits.admit(narrow, "probe")


def test_headers_say_what_is_left_of_the_rate() -> None:
    limits = limiter(services={"ocr": CallerLimits(rate=2.0, burst=4)})
    identity = replace(KEY, limits=CallerLimits(rate=100.0))
    admissions = [limits.admit(identity, "ocr") for _ in range(4)]
    lines = [admission.header_line for admission in admissions]
    assert lines[0] == 'ratelimit: "rate";r=3;t=1\r\n'
    assert lines[3] == 'ratelimit: "rate";r=0;t=2\r\n'
    with pytest.raises(LimitExceededError) as caught:
        limits.admit(identity, "ocr")
    assert caught.value.header_lines.split("\r\n") == [
        'ratelimit-policy: "rate";q=4;w=2',
        'ratelimit: "rate";r=0;t=2',
        "x-ratelimit-limit: 4",
        "x-ratelimit-remaining: 0",
        "x-ratelimit-reset: 2",
        "",
    ]
    other = replace(KEY, key_id="k2")
    assert limits.admit(other, "probe").header_line == ""


def test_limits_of_the_configuration() -> None:
    assert limits_of(AppOptions()) == NO_LIMITS
    assert limits_of(ServiceOptions(deadline=1.0)) == NO_LIMITS
    options = AppOptions(rate=2.0, burst=4, concurrency=3, quota="1000/month")
    assert limits_of(options) == CallerLimits(2.0, 4, 3, 1000, 30)
    assert limits_of(AppOptions(quota="5/day")) == CallerLimits(quota=5, quota_days=1)


def test_sub_service_of_a_category_has_its_own_limits() -> None:
    limits = limiter(services={"any": CallerLimits(concurrency=5), "ocr": TWO})
    admissions = [limits.extend(limits.admit(ANONYMOUS, "any"), ANONYMOUS, "ocr") for _ in range(2)]
    refused = limits.admit(ANONYMOUS, "any")
    with pytest.raises(LimitExceededError, match="service ocr has 2"):
        limits.extend(refused, ANONYMOUS, "ocr")
    for admission in admissions:
        admission.release()
    for _ in range(2):  # nothing is left of the refused one
        limits.extend(limits.admit(ANONYMOUS, "any"), ANONYMOUS, "ocr")
    for _ in range(3):
        limits.admit(ANONYMOUS, "any")
    admission = limits.admit(ANONYMOUS, "other")
    assert limits.extend(admission, ANONYMOUS, "free") is admission


def test_licences_of_a_service_count_for_each_application() -> None:
    limits = UsageLimiter({}, {}, lambda: 0.0, lambda: 0.0, licences={"ocr": 2})
    shop, other = (Identity(name, f"k-{name}", method="key") for name in ("shop", "other"))
    running = [limits.admit(shop, "ocr") for _ in range(2)]
    with pytest.raises(LimitExceededError, match="app shop of service ocr has 2 requests"):
        limits.admit(replace(shop, key_id="k2"), "ocr")
    limits.admit(other, "ocr")
    limits.admit(shop, "asr")
    for _ in range(9):
        limits.admit(ANONYMOUS, "ocr")
    running[0].release()
    with pytest.raises(LimitExceededError):
        limits.extend(limits.admit(other, "any"), other, "ocr").release()
        limits.admit(other, "ocr")
        limits.admit(other, "ocr")
    limits.extend(limits.admit(shop, "any"), shop, "ocr")


def test_new_limits_hold_at_once_and_what_was_counted_counts_on() -> None:
    limits = limiter({"shop": TWO}, {"ocr": CallerLimits(quota=3)})
    shop = Identity("shop", "k1", method="key")
    first = limits.admit(shop, "ocr")
    limits.admit(shop, "ocr")
    limits.set_limits({"shop": CallerLimits(concurrency=3)}, {"ocr": CallerLimits(quota=3)}, {})
    limits.admit(shop, "ocr")
    with pytest.raises(LimitExceededError, match="app shop has 3"):
        limits.admit(shop, "probe")
    first.release()
    with pytest.raises(LimitExceededError, match="service ocr has used its 3 requests"):
        limits.admit(shop, "ocr")
    # Another period begins anew, and has its own end.
    limits.set_limits({}, {"ocr": CallerLimits(quota=3, quota_days=30)}, {})
    limits.admit(shop, "ocr")
    limits.set_limits({}, {}, {})
    assert limits.admit(shop, "ocr") is NO_ADMISSION
    assert not limits.has_limits()


def test_a_new_period_ends_when_it_ends() -> None:
    wall_now = 1_000_000.0
    limits = UsageLimiter(
        {}, {"ocr": CallerLimits(quota=1, quota_days=30)}, lambda: 0.0, lambda: wall_now
    )
    limits.set_limits({}, {"ocr": CallerLimits(quota=1)}, {})
    limits.admit(ANONYMOUS, "ocr")
    with pytest.raises(LimitExceededError, match="of this day"):
        limits.admit(ANONYMOUS, "ocr")
    wall_now += 86_400
    limits.admit(ANONYMOUS, "ocr")


def test_a_new_rate_holds_for_what_came_before_it() -> None:
    now = 50.0
    limits = UsageLimiter({}, {"ocr": CallerLimits(rate=1.0, burst=100)}, lambda: now, lambda: 0.0)
    for _ in range(100):
        limits.admit(ANONYMOUS, "ocr")
    limits.set_limits({}, {"ocr": CallerLimits(rate=1000.0, burst=100)}, {})
    with pytest.raises(LimitExceededError) as refused:
        limits.admit(ANONYMOUS, "ocr")
    assert refused.value.retry_after == 1
    now += 0.1
    limits.admit(ANONYMOUS, "ocr")


def test_new_limits_do_not_wait_for_a_lease_of_them() -> None:
    limits = limiter({}, {"ocr": CallerLimits(rate=1000.0)})
    [meter] = limits.shared_meters()
    meter.lease, meter.share = MeterLease(1.0, 0, 0, False), 0.5
    limits.set_limits({}, {"ocr": CallerLimits(rate=1000.0, concurrency=4, quota=9)}, {})
    limits.admit(ANONYMOUS, "ocr")
    limits.admit(ANONYMOUS, "ocr")
    with pytest.raises(LimitExceededError, match="4 requests in progress"):
        limits.admit(ANONYMOUS, "ocr")  # its share of them


def test_new_limits_are_shared_with_other_gateways() -> None:
    limits = limiter()
    requested: list[None] = []
    limits.on_new_meter = lambda: requested.append(None)
    limits.set_limits({}, {}, {})
    assert not requested
    limits.gateways = 4
    limits.set_limits({"shop": TWO}, {}, {"ocr": 2})
    assert requested
    names = [meter.name for meter in limits.shared_meters()]
    assert names == ["app shop", "app shop of service ocr"]
    assert [meter.share for meter in limits.shared_meters()] == [0.25, 0.0]
    limits.set_limits({"shop": TWO}, {}, {"ocr": 5})
    assert limits.shared_meters()[1].limits.concurrency == 5
    limits.set_limits({"shop": TWO}, {}, {})
    assert [meter.name for meter in limits.shared_meters()] == ["app shop"]
