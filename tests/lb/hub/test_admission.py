"""Who may report what: the rules as tables."""

import pytest

from config.options import LbOptions, ServiceOptions
from lb.endpoints.report import Instance, Load, Report
from lb.hub.admission import (
    AdmissionPolicy,
    RateLimiter,
    RejectReason,
    ReportRejectedError,
    parse_networks,
)


def refusal(rules: AdmissionPolicy, check: str, *told: object) -> RejectReason | None:
    try:
        getattr(rules, check)(*told)
    except ReportRejectedError as error:
        assert str(error), "it says what to do"
        return error.reason
    return None


@pytest.mark.parametrize(
    ("token", "tokens", "given", "service", "fits"),
    [
        ("", {}, None, "ocr", True),
        ("", {}, "Bearer x", "ocr", True),
        ("secret", {}, "Bearer secret", "ocr", True),
        ("secret", {}, "Bearer Secret", "ocr", False),
        ("secret", {}, "secret", "ocr", False),
        ("secret", {}, None, "ocr", False),
        ("secret", {"ocr": "own"}, "Bearer own", "ocr", True),
        ("secret", {"ocr": "own"}, "Bearer secret", "ocr", False),
        ("secret", {"ocr": "own"}, "Bearer secret", "asr", True),
        ("", {"ocr": "own"}, None, "ocr", False),
        ("schlüssel", {}, "Bearer schlüssel", "ocr", True),
    ],
)
def test_a_token(
    token: str, tokens: dict[str, str], given: str | None, service: str, fits: bool
) -> None:
    rules = AdmissionPolicy(token=token, service_tokens=tokens)
    metadata = {} if given is None else {"authorization": given}
    wanted = None if fits else RejectReason.UNAUTHENTICATED
    assert refusal(rules, "check_token", metadata, service) is wanted


@pytest.mark.parametrize(
    ("addr", "peer", "allow", "fits"),
    [
        ("10.0.0.7:8240", "ipv4:10.0.0.7:51234", [], True),
        ("10.0.0.8:8240", "ipv4:10.0.0.7:51234", [], False),
        ("10.0.0.8:8240", "ipv4:10.0.0.7:51234", ["10.0.0.0/8"], True),
        ("loader-1:8240", "ipv4:10.0.0.7:51234", [], False),
        ("loader-1:8240", "ipv4:10.0.0.7:51234", ["10.0.0.7"], True),
        ("169.254.169.254:80", "ipv4:10.0.0.7:51234", [], False),
        ("127.0.0.1:8291", "ipv4:10.0.0.7:51234", [], False),
        ("127.0.0.1:8240", "ipv4:127.0.0.1:51234", [], True),
        ("[::1]:8240", "ipv6:%5B::1%5D:51234", [], True),
        ("[fe80::2]:8240", "ipv6:[fe80::1%25eth0]:51234", [], False),
        ("10.0.0.7:8240", "ipv6:%5B::ffff:10.0.0.7%5D:51234", [], True),
        ("x:1", "unix:/run/lb.sock", [], True),
    ],
)
def test_an_address_is_the_peer_s_own(addr: str, peer: str, allow: list[str], fits: bool) -> None:
    rules = AdmissionPolicy(allowed_networks=parse_networks(allow))
    assert refusal(rules, "check_address", addr, peer) is (None if fits else RejectReason.ADDRESS)


@pytest.mark.parametrize(
    ("total", "best", "kept"), [(8, 4, (8, 4)), (99, 4, (10, 4)), (99, 99, (10, 10))]
)
def test_licences_are_capped(total: int, best: int, kept: tuple[int, int]) -> None:
    told = Report(Instance("ase", "ocr", "a:1", 7, total=total, best=best), Load(1))
    instance = AdmissionPolicy(max_requests=10).with_capped_requests(told).instance
    assert (instance.total, instance.best) == kept


def test_reports_have_a_rate() -> None:
    rate = RateLimiter(100)
    assert sum(rate.try_acquire(0.0) for _ in range(500)) == 100
    assert sum(rate.try_acquire(0.5) for _ in range(500)) == 50
    assert sum(rate.try_acquire(99.0) for _ in range(500)) == 100


def test_rules_come_from_options() -> None:
    options = LbOptions(token="t", allow=["10.0.0.0/8"], max_total=5, max_rate=6, max_instances=7)
    rules = AdmissionPolicy.from_options(
        options, {"ocr": ServiceOptions(token="own"), "asr": ServiceOptions()}
    )
    assert (rules.token, dict(rules.service_tokens)) == ("t", {"ocr": "own"})
    assert (rules.max_requests, rules.max_rate, rules.max_instances) == (5, 6, 7)
    assert refusal(rules, "check_address", "x:1", "ipv4:10.9.9.9:1") is None
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        parse_networks(["10.0.0.0/99"])
