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


def rejection_reason(policy: AdmissionPolicy, method: str, *args: object) -> RejectReason | None:
    try:
        getattr(policy, method)(*args)
    except ReportRejectedError as error:
        assert str(error), "it says what to do"
        return error.reason
    return None


@pytest.mark.parametrize(
    ("token", "tokens", "authorization", "service_id", "allowed"),
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
def test_tokens(
    token: str, tokens: dict[str, str], authorization: str | None, service_id: str, allowed: bool
) -> None:
    policy = AdmissionPolicy(token=token, service_tokens=tokens)
    metadata = {} if authorization is None else {"authorization": authorization}
    expected = None if allowed else RejectReason.UNAUTHENTICATED
    assert rejection_reason(policy, "check_token", metadata, service_id) is expected


@pytest.mark.parametrize(
    ("addr", "peer", "allow", "allowed"),
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
def test_address_must_match_the_peer(addr: str, peer: str, allow: list[str], allowed: bool) -> None:
    policy = AdmissionPolicy(allowed_networks=parse_networks(allow))
    assert rejection_reason(policy, "check_address", addr, peer) is (
        None if allowed else RejectReason.ADDRESS
    )


@pytest.mark.parametrize(
    ("total", "best", "expected"), [(8, 4, (8, 4)), (99, 4, (10, 4)), (99, 99, (10, 10))]
)
def test_slots_are_capped(total: int, best: int, expected: tuple[int, int]) -> None:
    report = Report(Instance("ase", "ocr", "a:1", 7, total=total, best=best), Load(1))
    instance = AdmissionPolicy(max_requests=10).with_capped_requests(report).instance
    assert (instance.total, instance.best) == expected


def test_report_rate_is_limited() -> None:
    limiter = RateLimiter(100)
    assert sum(limiter.try_acquire(0.0) for _ in range(500)) == 100
    assert sum(limiter.try_acquire(0.5) for _ in range(500)) == 50
    assert sum(limiter.try_acquire(99.0) for _ in range(500)) == 100


def test_policy_from_options() -> None:
    options = LbOptions(token="t", allow=["10.0.0.0/8"], max_total=5, max_rate=6, max_instances=7)
    policy = AdmissionPolicy.from_options(
        options, {"ocr": ServiceOptions(token="own"), "asr": ServiceOptions()}
    )
    assert (policy.token, dict(policy.service_tokens)) == ("t", {"ocr": "own"})
    assert (policy.max_requests, policy.max_rate, policy.max_instances) == (5, 6, 7)
    assert rejection_reason(policy, "check_address", "x:1", "ipv4:10.9.9.9:1") is None
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        parse_networks(["10.0.0.0/99"])


@pytest.mark.parametrize(
    ("addr", "refused"),
    [
        ("169.254.169.254:80", True),  # the metadata of clouds
        ("[::ffff:169.254.169.254]:80", True),
        ("[fe80::1%eth0]:80", True),
        ("0.0.0.0:80", True),
        ("[::]:80", True),
        ("224.0.0.1:80", True),
        ("255.255.255.255:80", True),
        ("[ff02::1]:80", True),
        ("127.0.0.1:8200", True),
        ("127.8.9.1:8290", True),
        ("[::1]:8220", True),
        ("localhost:8200", True),
        ("127.0.0.1:8240", False),
        ("10.0.0.7:8200", False),
        ("[fd00::7]:9000", False),
        ("loader-1:8200", False),
    ],
)
def test_addresses_that_no_loader_has_are_refused_to_everybody(addr: str, refused: bool) -> None:
    allowed = parse_networks(["127.0.0.0/8"])
    policy = AdmissionPolicy(allowed_networks=allowed, own_ports=frozenset({8200, 8290, 8220}))
    expected = RejectReason.ADDRESS if refused else None
    for peer in ("ipv4:127.0.0.1:51234", "unix:/run/ase.sock"):
        assert rejection_reason(policy, "check_address", addr, peer) is expected
