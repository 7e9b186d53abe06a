from dataclasses import replace

from registry import commands
from registry.discovery import LeaseTable, Provider, visible_providers
from tests.registry.documents import NAME, Records


def provider(address: str) -> Provider:
    return Provider(NAME, address, "http", 100, {"zone": "a"}, 5.0)


def test_a_provider_is_the_same_from_its_bytes() -> None:
    assert Provider.from_bytes(provider("a:1").to_bytes()) == provider("a:1")
    assert provider("a:1").to_json()["name"] == str(NAME)


def test_operators_take_providers_out() -> None:
    records = Records()
    other = replace(provider("z:1"), name=replace(NAME, version="2"))
    providers = [provider("b:1"), provider("a:1"), provider("c:1"), other]
    records.run(commands.override_provider, NAME, "a:1", "offline", "")
    records.run(commands.override_provider, NAME, "b:1", "isolated", "")
    shown = visible_providers(records.state, NAME, providers)
    assert [(p.address, p.state) for p in shown] == [("b:1", "isolated"), ("c:1", "online")]
    records.run(commands.override_provider, NAME, "a:1", "online", "")
    assert len(visible_providers(records.state, NAME, providers)) == 3


def sweep_until(leases: LeaseTable, start: float, end: float) -> list[str]:
    ended, now = [], start
    while now < end:
        now += 0.25
        ended += leases.sweep(now, 0.25)
    return ended


def test_a_lease_that_is_not_renewed_ends() -> None:
    leases = LeaseTable(0.0)
    for key in ("a", "b", "c", "d"):
        leases.renew(key, 5.0, 0.0)
    assert sweep_until(leases, 0.0, 4.0) == []
    for key in ("b", "c", "d"):
        leases.renew(key, 5.0, 4.0)
    assert sweep_until(leases, 4.0, 8.0) == ["a"]
    assert len(leases) == 3
    leases.remove("b")
    assert len(leases) == 2


def test_leases_stand_still_while_the_registry_does() -> None:
    """It was silent itself for a minute: what it could not hear was no silence of theirs."""
    leases = LeaseTable(0.0)
    for key in ("a", "b"):
        leases.renew(key, 5.0, 0.0)
    assert sweep_until(leases, 0.0, 3.0) == []
    assert leases.sweep(63.25, 0.25) == []
    assert sweep_until(leases, 63.25, 64.5) == []
    assert sorted(sweep_until(leases, 64.5, 66.0)) == ["a", "b"]


def test_when_most_end_at_once_they_are_kept_for_one_lease_more() -> None:
    leases = LeaseTable(0.0)
    for key in ("a", "b", "c", "d"):
        leases.renew(key, 5.0, 0.0)
    leases.renew("e", 60.0, 0.0)
    assert sweep_until(leases, 0.0, 6.0) == []
    leases.renew("a", 5.0, 6.0)
    assert sweep_until(leases, 6.0, 9.0) == []
    ended = sweep_until(leases, 9.0, 10.5)
    assert sorted(ended) == ["b", "c", "d"]  # silent for a second lease: they are gone
    assert len(leases) == 2


def test_few_that_end_at_once_are_gone() -> None:
    leases = LeaseTable(0.0)
    for number in range(10):
        leases.renew(str(number), 5.0 if number < 4 else 60.0, 0.0)
    assert sorted(sweep_until(leases, 0.0, 6.0)) == ["0", "1", "2", "3"]
